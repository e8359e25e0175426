"""The partial inverse of max pooling: puts values back where `indices` say."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.core.op import Array, Case, Op, Spec, require, require_float
from gpudl.ops.pool.base import MOST_ELEMENTS, Ints


class MaxUnpoolOp(Op):
    """y[n,c,indices[n,c,p…]] = x[n,c,p…] and zero elsewhere, with indices flat in the spatial axes
    of output_size. If an index occurs twice, the last one in row-major order wins, but all get the
    gradient, as in PyTorch. Kernels ignore indices outside y."""

    inputs = ("x", "indices")
    saves = ("indices",)
    kernels = ("owner",)

    output_size: Ints

    def infer(self, x: Spec, indices: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        rank = len(self.output_size)
        require(len(x.shape) == rank + 2, self, "x", f"is {x}; it must have {rank + 2} axes")
        require(0 not in x.shape[1:], self, "x", f"is {x}; only the batch may be empty")
        fits = indices.shape == x.shape and indices.dtype == np.int64
        require(fits, self, "indices", f"is {indices}; it must be int64{list(x.shape)}, like x")
        fits = min(self.output_size) >= 1
        require(fits, self, "output_size", f"is {self.output_size}; it must be at least 1")
        y = Spec((*x.shape[:2], *self.output_size), x.dtype)
        fits = y.size <= MOST_ELEMENTS
        require(fits, self, "y", f"is {y}; it must have at most 2^31 - 1 elements")
        return (y,)

    def parameters(self) -> dict[str, Any]:
        return {"output_size": (1,) * (3 - len(self.output_size)) + self.output_size}

    def planes(self, array: Array) -> Array:
        """(N*C, elements of a plane)"""
        return array.reshape(array.shape[0] * array.shape[1], math.prod(array.shape[2:]))

    def forward(self, xp: Any, x: Array, indices: Array) -> tuple[Array, ...]:
        y = np.zeros((*x.shape[:2], *self.output_size), x.dtype)
        plane = math.prod(self.output_size)
        if indices.size and not 0 <= indices.min() <= indices.max() < plane:
            raise IndexError(
                f"{self.name}: indices range from {indices.min()} to {indices.max()}; "
                f"output_size {self.output_size} allows 0 to {plane - 1}"
            )
        flat = self.planes(y)
        flat[np.arange(len(flat))[:, None], self.planes(indices)] = self.planes(x)
        return (y,)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array | None, ...]:
        found = np.take_along_axis(self.planes(dys[0]), self.planes(saved.indices), axis=1)
        return found.reshape(saved.indices.shape), None

    def twin(self, torch: Any, x: Any, indices: Any) -> Any:
        rank = len(self.output_size)
        unpool = getattr(torch.nn.functional, f"max_unpool{rank}d")
        stride = tuple(-(-o // n) for o, n in zip(self.output_size, x.shape[2:], strict=True))
        return unpool(x, indices, stride, stride, 0, self.output_size)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def make(shape: Ints, size: Ints) -> Any:
            def draw(rng: np.random.Generator) -> tuple[Array, ...]:
                places = rng.permuted(np.tile(np.arange(math.prod(size)), (*shape[:2], 1)), axis=2)
                count = math.prod(shape[2:])
                return (
                    rng.standard_normal(shape).astype(np.float32),
                    places[..., :count].reshape(shape).astype(np.int64),
                )

            return draw

        for name, shape, size in [
            ("2-d", (2, 3, 3, 4), (6, 8)), ("four channels", (1, 4, 2, 3), (5, 6)),
            ("1-d", (2, 4, 5), (10,)), ("3-d", (1, 3, 2, 2, 2), (4, 4, 4)),
            ("empty batch", (0, 2, 2, 2), (4, 4)),
        ]:  # fmt: skip
            yield Case(name, cls.of(size), make(shape, size))
        x, last = np.array([[[1, 2, 3]]], np.float32), np.array([[[4, 0, 1]]])
        golden = (np.array([[[2, 3, 0, 0, 1]]], np.float32),)
        yield Case("by hand", cls.of((5,)), lambda rng: (x, last), golden=golden)
        short = np.array([[[1, 2]]])
        yield Case("shapes", cls.of((5,)), lambda rng: (x, short), error="indices is int64")
        yield Case("outside", cls.of((4,)), lambda rng: (x, last), error="0 to 3")
