"""Sums and means of float32 over axes that are adjacent in memory, on devices with kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.launcher import Launcher
from gpudl.core.layout import channels_last, is_dense
from gpudl.core.op import Case, Cost, Op, Spec, require, require_float
from gpudl.devices.find import NativeDevice

MOST = 2**31 - 2**16  # elements: the kernels' 32-bit indices may run slightly past the end


class TreeSumOp(Op):
    """y[o,i] = Σ x[o,n,i] over n, or the mean. split: the extents (outer, n, inner) of x in memory
    order, which is row-major or, if `last`, channels-last. shape: of y."""

    kernels = ("rows", "nhwc")

    split: tuple[int, int, int]
    shape: tuple[int, ...]
    mean: bool = False
    last: bool = False

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        outer, n, inner = self.split
        require(
            x.size == outer * n * inner and math.prod(self.shape) == outer * inner,
            self,
            "x",
            f"is {x}; split is {self.split} and shape {self.shape}; they must fit its elements",
        )
        require(x.size <= MOST, self, "x", f"is {x}; it must have at most {MOST} elements")
        require(
            not self.last or 3 <= len(x.shape) <= 5,
            self,
            "x",
            f"is {x}; channels-last needs 3 to 5 axes",
        )
        return (Spec(self.shape, x.dtype),)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        stored = x.transpose(channels_last(x.ndim)) if self.last else x
        y = stored.reshape(self.split).sum(1)
        return ((y / self.split[1] if self.mean else y).reshape(self.shape).astype(x.dtype),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        outer, n, inner = self.split
        dy, shape = dys[0].reshape(outer, 1, inner), saved.specs[0].shape
        dx = xp.broadcast_to(dy / n if self.mean else dy, self.split)
        if not self.last:
            return (dx.reshape(shape),)
        stored = dx.reshape([shape[axis] for axis in channels_last(len(shape))])
        return (stored.transpose(0, len(shape) - 1, *range(1, len(shape) - 1)),)

    def supports(self, kernel: Launcher, x: Spec) -> bool:
        return (kernel.algorithm == "nhwc") == self.last

    def cost(self, x: Spec) -> Cost:
        return Cost(x.size, (x.size + math.prod(self.shape)) * x.dtype.itemsize)

    def reduction(self, x: Spec) -> int:
        return max(1, self.split[1])

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def drawn(*shape: int) -> Any:
            return lambda rng: (rng.standard_normal(shape).astype(np.float32),)

        for split in [(1, 1, 1), (3, 5, 1), (7, 33, 1), (1, 9001, 1), (2, 8200, 1), (2, 4100, 3)]:
            for mean in (False, True):
                op = cls.of(split, (split[0], split[2]), mean)
                yield Case(f"{split} {mean}", op, drawn(*split))
        yield Case("columns", cls.of((3, 5, 40), (3, 40)), drawn(3, 5, 40))
        yield Case("rows of columns", cls.of((1, 70, 130), (130,)), drawn(70, 130))
        yield Case("nothing", cls.of((2, 0, 3), (2, 3)), drawn(2, 0, 3))
        yield Case("none", cls.of((0, 4, 3), (0, 3)), drawn(0, 4, 3))
        op = cls.of((2, 12, 5), (2, 5), True, True)
        yield Case("positions", op, drawn(2, 5, 4, 3))
        x = np.array([[[1.0, 2], [3, 4]]], np.float32)
        golden = (np.array([2.0, 3.0], np.float32),)
        yield Case("by hand", cls.of((1, 2, 2), (2,), True), lambda rng: (x,), golden=golden)
        yield Case("split", cls.of((2, 3, 4), (2, 4)), drawn(2, 3), error=r"split is \(2, 3, 4\)")


def tree_sum(
    input: Tensor, axes: tuple[int, ...], shape: tuple[int, ...], mean: bool
) -> Tensor | None:
    """The sum (or mean) over sorted axes, with the given shape. None if no kernel applies, because
    of the device, the dtype, axes that are not adjacent or the memory order."""
    if not isinstance(input.device, NativeDevice) or input.dtype != np.float32 or not axes:
        return None
    extents, data = input.shape, input.array
    if not 0 < data.size <= MOST:
        return None
    ndim = len(extents)
    if is_dense(data, tuple(range(ndim))):
        if axes != tuple(range(axes[0], axes[-1] + 1)):
            return None
        outer, inner = math.prod(extents[: axes[0]]), math.prod(extents[axes[-1] + 1 :])
        op = TreeSumOp.of((outer, data.size // (outer * inner), inner), shape, mean)
        return apply(op, input)  # type: ignore[no-any-return]
    if 3 <= ndim <= 5 and axes == tuple(range(2, ndim)) and is_dense(data, channels_last(ndim)):
        samples, channels = extents[:2]
        positions = data.size // (samples * channels)
        op = TreeSumOp.of((samples, positions, channels), shape, mean, True)
        return apply(op, input)  # type: ignore[no-any-return]
    return None
