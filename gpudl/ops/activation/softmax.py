"""softmax and log_softmax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, cast

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Array, Case, Cost, Op, Spec, require, require_float
from gpudl.core.public import public
from gpudl.ops.elementwise.quick_numpy import row_blocks, row_max, row_sum

LOG2 = 0.69314718055994529

FEW = 1 << 13  # elements up to which the definition is as fast


class RowSoftmax(Op):
    """Base of both: over the last axis of an array of any rank; backward reads the result."""

    saves = ("y",)
    kernels = ("rows",)
    cpu = ("blocks",)
    golden: ClassVar[tuple[list[float], ...]]  # of (0, -inf, 0) and (1e30, 1e30, -1e30)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        require(len(x.shape) > 0, self, "x", "is a scalar; it must have at least one axis")
        return (x,)

    def value(self, y: Array) -> None:
        """Complete the result in place; y holds rows of x minus their maximum."""
        raise TypeError(f"{self.name} declares no value")

    def gradient(self, dy: Array, y: Array, dx: Array) -> None:
        """Write the gradient of some rows into dx."""
        raise TypeError(f"{self.name} declares no gradient")

    def forward_blocks(self, xp: Any, x: Array) -> tuple[Array, ...]:
        if x.dtype.itemsize < 4 or x.size < FEW:
            return self.forward(xp, x)
        rows = x.reshape(-1, x.shape[-1])
        y = np.empty_like(rows)
        for part, out in row_blocks(rows, y):
            np.subtract(part, row_max(part), out=out)
            self.value(out)
        return (y.reshape(x.shape),)

    def backward_blocks(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        dy, y = dys[0], saved.y
        if y.dtype.itemsize < 4 or y.size < FEW:
            return self.backward(xp, dys, saved, needs)
        dy, y = (a.reshape(-1, a.shape[-1]) for a in (dy, y))
        dx = np.empty_like(y)
        for block in row_blocks(dy, y, dx):
            self.gradient(*block)
        return (dx.reshape(dys[0].shape),)

    def cost(self, x: Spec) -> Cost:
        return Cost(4 * x.size, 2 * x.size * x.dtype.itemsize)

    def reduction(self, x: Spec) -> int:
        return x.shape[-1]

    @classmethod
    def cases(cls) -> Iterator[Case]:
        op = cls()
        shapes = [
            (4, 10),
            (3, 1),
            (35, 33),
            (2, 1000),
            (2, 4097),
            (2, 3, 4, 5),
            (0, 5),
            (3, 0),
            (7,),
        ]
        for shape in shapes:
            yield Case("x".join(map(str, shape)), op, lambda rng, s=shape: (draw(rng, s),))
        yield Case("large", op, lambda rng: (draw(rng, (5, 12)) * 1000,))
        inf, nan = np.inf, np.nan
        rows = [[0, -inf, 0], [-inf, -inf, -inf], [0, inf, 0], [nan, 0, 0], [1e30, 1e30, -1e30]]
        x = np.array(rows, np.float32)
        y = np.array([cls.golden[0], [nan] * 3, [nan] * 3, [nan] * 3, cls.golden[1]], np.float32)
        yield Case("special values", op, lambda rng: (x,), golden=(y,))
        yield Case("scalar", op, lambda rng: (draw(rng, ()),), error="scalar")
        yield Case("integers", op, lambda rng: (np.arange(3),), error="x is int64")


class SoftmaxOp(RowSoftmax):
    """y = exp(x) / sum(exp(x)) over the last axis."""

    golden = ([0.5, 0, 0.5], [0.5, 0.5, 0])

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        y = xp.exp(x - x.max(-1, keepdims=True, initial=-np.inf))
        y /= y.sum(-1, keepdims=True)
        return (y,)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        dy, y = dys[0], saved.y
        return (y * (dy - (dy * y).sum(-1, keepdims=True)),)

    def value(self, y: Array) -> None:
        np.exp(y, out=y)
        y /= row_sum(y)

    def gradient(self, dy: Array, y: Array, dx: Array) -> None:
        np.subtract(dy, np.vecdot(dy, y)[:, None], out=dx)
        dx *= y

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.softmax(x, -1)


class LogSoftmaxOp(RowSoftmax):
    """y = x - log(sum(exp(x))) over the last axis."""

    golden = ([-LOG2, -np.inf, -LOG2], [-LOG2, -LOG2, -2e30])

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        y = x - x.max(-1, keepdims=True, initial=-np.inf)
        y -= xp.log(xp.exp(y).sum(-1, keepdims=True))
        return (y,)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        dy = dys[0]
        return (dy - xp.exp(saved.y) * dy.sum(-1, keepdims=True),)

    def value(self, y: Array) -> None:
        y -= np.log(row_sum(np.exp(y)))

    def gradient(self, dy: Array, y: Array, dx: Array) -> None:
        np.exp(y, out=dx)
        dx *= row_sum(dy)
        np.subtract(dy, dx, out=dx)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.log_softmax(x, -1)


def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.standard_normal(shape), np.float32)


def over_axis(op: Op, input: Tensor, dim: int | None) -> Tensor:
    """Run an operator over axis dim instead of the last. dim=None is PyTorch's choice: the first
    axis for inputs of 0, 1 or 3 axes, else the second."""
    if dim is None:
        dim = 0 if input.ndim in (0, 1, 3) else 1
    if not input.ndim and dim in (0, -1):
        return apply(op, input.reshape(1)).reshape(())  # type: ignore[no-any-return]
    if not -input.ndim <= dim < input.ndim:
        raise IndexError(
            f"{op.name}: dim is {dim}; it must be from {-input.ndim} to {input.ndim - 1} for "
            f"{input.ndim} axes"
        )
    if dim in (-1, input.ndim - 1):
        return apply(op, input)  # type: ignore[no-any-return]
    moved = cast(Any, input).movedim(dim, -1)
    return apply(op, moved).movedim(-1, dim)  # type: ignore[no-any-return]


def converted(input: Tensor, dtype: Any) -> Tensor:
    return input if dtype is None else input.to(dtype)


@public("gpudl", "Tensor", "functional")
def softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """exp(input) / sum(exp(input)) along axis dim, without overflow.

    dim=None means axis 0 for inputs of 0, 1 or 3 axes, else axis 1, as in PyTorch. dtype: convert
    the input first. Raises IndexError if dim is out of range.
    """
    return over_axis(SoftmaxOp.of(), converted(input, dtype), dim)


@public("gpudl", "Tensor", "functional")
def log_softmax(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """The logarithm of softmax along axis dim, accurate even where softmax underflows.

    Raises IndexError if dim is out of range.
    """
    return over_axis(LogSoftmaxOp.of(), converted(input, dtype), dim)


@public("functional")
def softmin(input: Tensor, dim: int | None = None, *, dtype: Any = None) -> Tensor:
    """softmax(-input) along axis dim. Raises IndexError if dim is out of range."""
    return softmax(-input, dim, dtype=dtype)


@public("functional")
def softmax2d(input: Tensor) -> Tensor:
    """Softmax over the channels of each pixel: input (N, C, H, W) or (C, H, W).

    Raises ValueError for other numbers of axes.
    """
    if input.ndim not in (3, 4):
        raise ValueError(
            f"softmax2d: input is {list(input.shape)}; it must be (N, C, H, W) or (C, H, W)"
        )
    return softmax(input, -3)
