"""Padding of the last axes: F.pad in its four modes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core import dtypes
from gpudl.core.op import Case, Cost, Op, Spec, require
from gpudl.core.public import Number, public
from gpudl.ops.elementwise.base import fixed, normal

MODES = ("constant", "reflect", "replicate", "circular")
MOST_ELEMENTS = (1 << 31) - 1  # kernels index elements with 32-bit ints


class PadOp(Op):
    """y = x with a border. before, after: elements added to each axis (negative numbers crop).
    mode: constant (filled with `value`), reflect, replicate or circular."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    mode: str
    value: float

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require(
            self.mode in MODES, self, "mode", f"is {self.mode!r}; use one of {', '.join(MODES)}"
        )
        fits = len(self.before) == len(x.shape)
        require(fits, self, "pad", f"has {len(self.before)} pairs; x is {list(x.shape)}")
        shape = []
        for b, s, a in zip(self.before, x.shape, self.after, strict=True):
            require(
                b + s + a >= 0, self, "pad", f"({b}, {a}) crops more than all of x {list(x.shape)}"
            )
            if self.mode != "constant" and (b or a):
                most = {"reflect": s - 1, "circular": s}.get(self.mode, b + a if s else -1)
                message = (
                    f"is ({b}, {a}) for an axis of {s}; mode {self.mode} allows 0 to {max(most, 0)}"
                )
                require(0 <= b <= most and 0 <= a <= most, self, "pad", message)
            shape.append(b + s + a)
        return (Spec(tuple(shape), x.dtype),)

    def source(self, xp: Any, axis: int, extent: int) -> Any:
        """The position in x, along an axis, of each element of y."""
        i = xp.arange(-self.before[axis], extent + self.after[axis])
        if self.mode == "replicate":
            return xp.clip(i, 0, extent - 1)
        if self.mode == "circular":
            return i % extent
        i = xp.abs(i)
        return xp.where(i >= extent, 2 * (extent - 1) - i, i)

    def overlap(self, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The slices of y that hold x, and the slices of x that y holds."""
        pairs = list(zip(self.before, self.after, shape, strict=True))
        of_y = tuple(slice(max(b, 0), b + s + a - max(a, 0)) for b, a, s in pairs)
        of_x = tuple(slice(max(-b, 0), s - max(-a, 0)) for b, a, s in pairs)
        return of_y, of_x

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        if self.mode == "constant":
            of_y, of_x = self.overlap(x.shape)
            extents = zip(self.before, x.shape, self.after, strict=True)
            y = xp.full([b + s + a for b, s, a in extents], self.value, x.dtype)
            y[of_y] = x[of_x]
            return (y,)
        for axis in self.axes():
            x = xp.take(x, self.source(xp, axis, x.shape[axis]), axis=axis)
        return (x.copy() if not self.axes() else x,)

    def axes(self) -> list[int]:
        return [i for i, (b, a) in enumerate(zip(self.before, self.after, strict=True)) if b or a]

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dx, shape = dys[0], saved.specs[0].shape
        if self.mode == "constant":
            of_y, of_x = self.overlap(shape)
            result = xp.zeros(shape, dx.dtype)
            result[of_x] = dx[of_y]
            return (result,)
        for axis in self.axes():
            dx = self._fold(xp, dx, axis, shape[axis])
        return (dx,)

    def _fold(self, xp: Any, dy: Any, axis: int, extent: int) -> Any:
        """Add the border's gradients to the elements that it repeats."""
        dy = xp.moveaxis(dy, axis, 0)
        b, a = self.before[axis], self.after[axis]
        dx = dy[b : b + extent].copy()
        if self.mode == "circular":
            if b:
                dx[extent - b :] += dy[:b]
            dx[:a] += dy[b + extent :]
        elif self.mode == "replicate":
            dx[0] += dy[:b].sum(axis=0)
            dx[-1] += dy[b + extent :].sum(axis=0)
        else:
            dx[1 : b + 1] += dy[:b][::-1]
            dx[extent - 1 - a : extent - 1] += dy[b + extent :][::-1]
        return xp.moveaxis(dx, 0, axis)

    def reduction(self, x: Spec) -> int:
        pairs = zip(self.before, self.after, strict=True)
        return math.prod(1 + max(b, 0) + max(a, 0) for b, a in pairs)

    def twin(self, torch: Any, x: Any) -> Any:
        pairs = [p for b, a in zip(self.before, self.after, strict=True) for p in (a, b)][::-1]
        if self.mode == "constant":
            return torch.nn.functional.pad(x, pairs, self.mode, self.value)
        return torch.nn.functional.pad(x, pairs[: 2 * (x.ndim - 2)], self.mode)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        x = normal((2, 3, 4, 5))
        for name, before, after in [
            ("border", (0, 0, 1, 2), (0, 0, 3, 0)), ("crop", (0, -1, 0, 1), (0, 0, -2, -1)),
            ("nothing", (0, 0, 0, 0), (0, 0, 0, 0)),
        ]:  # fmt: skip
            yield Case(f"constant {name}", cls(before, after, "constant", 0.5), x)
        for mode in MODES[1:]:
            yield Case(mode, cls((0, 0, 1, 2), (0, 0, 3, 0), mode, 0.0), x)
            yield Case(f"{mode} columns", cls((0, 0, 2), (0, 0, 1), mode, 0.0), normal((2, 3, 4)))
        numbers = fixed([1.0, 2.0, 3.0])
        golden = {"reflect": [3, 2, 1, 2, 3, 2], "circular": [2, 3, 1, 2, 3, 1]}
        for mode, y in golden.items():
            want = (np.array([[y]], np.float32),)
            made = fixed([[[1.0, 2.0, 3.0]]])
            yield Case(f"{mode} numbers", cls((0, 0, 2), (0, 0, 1), mode, 0.0), made, golden=want)
        yield Case("mode", cls((0,), (1,), "other", 0.0), numbers, error="pad: mode is 'other'")
        yield Case(
            "too much", cls((3,), (0,), "reflect", 0.0), numbers, error=r"pad: pad is \(3, 0\)"
        )
        yield Case("crops all", cls((-4,), (0,), "constant", 0.0), numbers, error="pad: .* crops")


class PadSpatialOp(PadOp):
    """PadOp with a kernel that reads and writes channels-last: float32 (N, C, W), (N, C, H, W) or
    (N, C, D, H, W) without a border on the first two axes."""

    kernels = ("direct",)

    @staticmethod
    def takes(x: Spec, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
        plain = x.dtype == dtypes.float32 and 3 <= len(x.shape) <= 5 and x.size > 0
        return plain and not any((*before[:2], *after[:2])) and x.size <= MOST_ELEMENTS

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        (y,) = super().infer(x)
        own = 3 <= len(x.shape) <= 5 and not any((*self.before[:2], *self.after[:2]))
        require(own, self, "pad", "pads the batch or the channels; use PadOp")
        fits = max(x.size, y.size) <= MOST_ELEMENTS
        message = f"is {x} and y {y}; both must have at most 2^31 - 1 elements"
        require(fits, self, "x", message)
        return (y,)

    def parameters(self) -> dict[str, Any]:
        before = (0, 0, 0, *self.before[2:])[-3:]
        return {"before": before, "mode": MODES.index(self.mode), "value": float(self.value)}

    def cost(self, x: Spec) -> Cost:
        (y,) = self.infer(x)
        return Cost(0, (x.size + y.size) * x.dtype.itemsize)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        x, wide = normal((2, 3, 4, 5)), normal((2, 8, 4, 3))
        crop = cls.of((0, 0, -1, 0), (0, 0, 1, -2), "constant", 0.5)
        yield Case("crop", crop, x)
        for mode in MODES:
            value = 0.5 if mode == "constant" else 0.0
            yield Case(mode, cls.of((0, 0, 3, 2), (0, 0, 1, 0), mode, value), x)
            yield Case(
                f"{mode} four channels", cls.of((0, 0, 1, 2), (0, 0, 3, 2), mode, value), wide
            )
            line, volume = normal((2, 3, 6)), normal((1, 4, 3, 2, 3))
            yield Case(f"{mode} 1-d", cls.of((0, 0, 2), (0, 0, 5), mode, value), line)
            yield Case(f"{mode} 3-d", cls.of((0, 0, 1, 0, 2), (0, 0, 2, 1, 1), mode, value), volume)
        golden = {"reflect": [3, 2, 1, 2, 3, 2], "circular": [2, 3, 1, 2, 3, 1]}
        golden |= {"replicate": [1, 1, 1, 2, 3, 3], "constant": [7, 7, 1, 2, 3, 7]}
        for mode, y in golden.items():
            want = (np.array([[y]], np.float32),)
            op = cls.of((0, 0, 2), (0, 0, 1), mode, 7.0)
            yield Case(f"{mode} numbers", op, fixed([[[1.0, 2.0, 3.0]]]), golden=want)
        far = cls.of((0, 0, 4), (0, 0, 0), "reflect", 0.0)
        yield Case("too much", far, normal((1, 1, 4)), error=r"pad_spatial: pad is \(4, 0\)")
        channels = cls.of((0, 1, 0), (0, 0, 0), "constant", 0.0)
        yield Case(
            "channels", channels, normal((1, 1, 4)), error="pad pads the batch or the channels"
        )


@public("functional")
def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: Number | None = None
) -> Tensor:
    """Pad the last axes. pad: (before, after) for the last axis, then for the one before it, and so
    on; negative numbers crop. mode: constant (filled with `value`, default 0), reflect, replicate
    or circular.

    Raises ValueError for more pairs than axes, or a border wider than reflect or circular allow.
    """
    if len(pad) % 2 or len(pad) // 2 > input.ndim:
        raise ValueError(
            f"pad: pad has {len(pad)} numbers; it must have 2 per axis, for at most {input.ndim} "
            "axes"
        )
    missing = (0,) * (input.ndim - len(pad) // 2)
    before, after = missing + tuple(pad[-2::-2]), missing + tuple(pad[::-2])
    spec = Spec(tuple(input.shape), input.dtype)
    op_class = PadSpatialOp if PadSpatialOp.takes(spec, before, after) else PadOp
    return apply(op_class.of(before, after, mode, value or 0), input)  # type: ignore[no-any-return]
