"""softmax and log_softmax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, cast

import numpy as np

from gpudl.op import Array, Case, Cost, Op, Spec, public, require, require_float
from gpudl.tensor import Tensor, apply

LOG2 = 0.69314718055994529


class RowSoftmax(Op):
    """What both share: they run over the last axis of an array of any rank, and save the result."""

    saves = ("y",)
    kernels = ("rows",)
    golden: ClassVar[tuple[list[float], ...]]  # of (0, -inf, 0) and (1e30, 1e30, -1e30)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        require(len(x.shape) > 0, self, "x", "is a scalar; it must have at least one axis")
        return (x,)

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

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.log_softmax(x, -1)


def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.asarray(rng.standard_normal(shape), np.float32)


def over_axis(op: Op, input: Tensor, dim: int) -> Tensor:
    """Run an operator that works on the last axis on another one."""
    if not -input.ndim <= dim < input.ndim:
        raise IndexError(
            f"{op.name}: dim is {dim}, but the tensor has {input.ndim} axes, "
            f"{-input.ndim} to {input.ndim - 1}"
        )
    if dim in (-1, input.ndim - 1):
        return apply(op, input)  # type: ignore[no-any-return]
    moved = cast(Any, input).movedim(dim, -1)
    return apply(op, moved).movedim(-1, dim)  # type: ignore[no-any-return]


@public("gpudl", "Tensor", "functional")
def softmax(input: Tensor, dim: int) -> Tensor:
    """exp(input) / sum(exp(input)) along axis dim, without overflow: positive, with sum 1.

    Raises IndexError for an axis that is not there.
    """
    return over_axis(SoftmaxOp.of(), input, dim)


@public("gpudl", "Tensor", "functional")
def log_softmax(input: Tensor, dim: int) -> Tensor:
    """The logarithm of softmax along axis dim, exact where softmax itself is too small for a float.

    Raises IndexError for an axis that is not there.
    """
    return over_axis(LogSoftmaxOp.of(), input, dim)


@public("functional")
def softmin(input: Tensor, dim: int) -> Tensor:
    """softmax(-input) along axis dim. Raises IndexError for an axis that is not there."""
    return softmax(-input, dim)


@public("functional")
def softmax2d(input: Tensor) -> Tensor:
    """Softmax over the channels of each pixel: input (N, C, H, W) or (C, H, W).

    Raises ValueError for other numbers of axes.
    """
    if input.ndim not in (3, 4):
        raise ValueError(
            f"softmax2d: input has {input.ndim} axes; it must be (N, C, H, W) or (C, H, W)"
        )
    return softmax(input, -3)
