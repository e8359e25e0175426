"""Reductions to one number per slice: sum, mean, prod, any, all. Others are in moments.py."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core import dtypes
from gpudl.core.op import Case, Op, Spec, is_floating, require_float
from gpudl.core.public import Dim, public
from gpudl.ops.elementwise.base import fixed, normal
from gpudl.ops.reduce.tree_sum import tree_sum
from gpudl.ops.shape.views import axis_of

Dims = tuple[int, ...] | None


def dims_of(dim: Dim) -> Dims:
    """`dim` as a field of an operator; None and () mean all axes."""
    if dim is None or isinstance(dim, int):
        return None if dim is None else (dim,)
    return tuple(dim) or None


class Reduction(Op):
    """y = f(x) over the axes `dim` (None: all of them). A subclass defines `compute` and
    `derivative`, whose arrays keep the reduced axes with extent 1."""

    dim: Dims
    keepdim: bool

    floats_only: ClassVar[bool] = True

    def axes(self, ndim: int) -> tuple[int, ...]:
        if self.dim is None:
            return tuple(range(ndim))
        axes = tuple(axis_of(self.name, d, ndim) for d in self.dim)
        if len(set(axes)) < len(axes):
            raise ValueError(
                f"{self.name}: dim is {list(self.dim)}; it must not name an axis twice"
            )
        return axes[:ndim]

    def result(self, x: Spec) -> np.dtype[Any]:
        return x.dtype

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if self.floats_only:
            require_float(self, x=x)
        axes = self.axes(len(x.shape))
        return (Spec(kept_shape(x.shape, axes, self.keepdim), self.result(x)),)

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
        raise TypeError

    def derivative(self, xp: Any, dy: Any, saved: Any, axes: tuple[int, ...]) -> Any:
        raise TypeError

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        axes = self.axes(x.ndim)
        y = self.compute(xp, x, axes)
        return (y if self.keepdim else y.reshape(kept_shape(x.shape, axes, False)),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        x = saved.specs[0]
        axes = self.axes(len(x.shape))
        dy = dys[0].reshape(kept_shape(x.shape, axes, True))
        dx = self.derivative(xp, dy, saved, axes)
        return (dx if dx.shape == x.shape else xp.broadcast_to(dx, x.shape),)

    def with_axes(self, array: Any, saved: Any) -> Any:
        """A saved output with its reduced axes restored as extent 1."""
        shape = saved.specs[0].shape
        return array.reshape(kept_shape(shape, self.axes(len(shape)), True))

    def count(self, x: Any) -> int:
        return math.prod(x.shape[a] for a in self.axes(len(x.shape)))

    def reduction(self, x: Spec) -> int:
        return max(1, self.count(x))

    def twin(self, torch: Any, x: Any) -> Any:
        dim = tuple(range(x.ndim)) if self.dim is None else self.dim
        return getattr(torch, self.name)(x, dim=dim, keepdim=self.keepdim)

    variants: ClassVar[tuple[tuple[Any, ...], ...]] = (
        (),
    )  # more fields, one tuple per group of cases
    empty: ClassVar[bool] = True  # whether an empty slice can be reduced

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for rest in cls.variants:
            for dim, keep in [(None, False), ((0,), False), ((-1,), True), ((0, 2), False)]:
                name = f"{dim} {keep} {rest}"
                yield Case(name, cls(dim, keep, *rest), normal((3, 4, 5)))
        rest = cls.variants[0]
        yield Case("long", cls((0,), False, *rest), normal((300, 2)))
        yield Case("no rows left", cls((1,), False, *rest), normal((0, 3)))
        yield Case("no axes", cls(None, False, *rest), normal(()))
        if cls.empty:
            yield Case("over nothing", cls((0,), False, *rest), normal((0, 3)))
        bad, name = cls((2,), False, *rest), cls.name
        yield Case("no such axis", bad, normal((2, 3)), error=f"{name}: dim is 2")
        yield Case("twice", cls((0, -2), False, *rest), normal((2, 3)), error=f"{name}: dim is")
        if cls.floats_only:
            whole = cls(None, False, *rest)
            yield Case("integers", whole, fixed([1, 2]), error=f"{name}: x is int64")


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    if keepdim:
        return tuple(1 if i in axes else s for i, s in enumerate(shape))
    return tuple(s for i, s in enumerate(shape) if i not in axes)


class SumOp(Reduction):
    """y = Σ x; integers and bool are summed as int64, 16-bit floats in float32."""

    floats_only = False

    def result(self, x: Any) -> np.dtype[Any]:
        return x.dtype if is_floating(x.dtype) else dtypes.int64

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
        dtype = self.result(x)
        y = x.sum(axis=axes, keepdims=True, dtype=wide(dtype))
        return y if y.dtype == dtype else y.astype(dtype)

    def derivative(self, xp: Any, dy: Any, saved: Any, axes: tuple[int, ...]) -> Any:
        return dy

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        made = fixed([[1, 2], [3, 4]])
        yield Case("integers", cls((0,), False), made, golden=(np.array([4, 6]),))
        yield Case("bool", cls(None, False), fixed([True, True]), golden=(np.array(2),))


def wide(dtype: Any) -> Any:
    """The dtype to sum in: at least float32."""
    return dtypes.float32 if dtype.itemsize < 4 and is_floating(dtype) else dtype


class MeanOp(Reduction):
    """y = Σ x / n."""

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
        n = self.count(x)
        y = x.sum(axis=axes, keepdims=True, dtype=wide(x.dtype))
        return xp.true_divide(y, y.dtype.type(n)).astype(x.dtype, copy=False)

    def derivative(self, xp: Any, dy: Any, saved: Any, axes: tuple[int, ...]) -> Any:
        return dy / dy.dtype.type(self.count(saved.specs[0]))


def product_of_others(xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
    """For each element, the product of all others in its slice, without division."""
    kept = [a for a in range(x.ndim) if a not in axes]
    order = (*kept, *axes)
    count = math.prod(x.shape[a] for a in axes)
    slices = x.transpose(order).reshape(*(x.shape[a] for a in kept), count)
    if not slices.size:
        return xp.zeros(x.shape, x.dtype)
    ones = xp.ones((*slices.shape[:-1], 1), x.dtype)
    before = xp.cumprod(xp.concatenate((ones, slices[..., :-1]), -1), axis=-1)
    after = xp.cumprod(xp.concatenate((ones, slices[..., :0:-1]), -1), axis=-1)[..., ::-1]
    products = (before * after).reshape([x.shape[a] for a in order])
    return products.transpose(np.argsort(order))


class ProdOp(Reduction):
    """y = Π x."""

    floats_only = False
    saves = ("x", "y")

    def result(self, x: Any) -> np.dtype[Any]:
        return x.dtype if is_floating(x.dtype) else dtypes.int64

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
        return x.prod(axis=axes, keepdims=True, dtype=self.result(x))

    def derivative(self, xp: Any, dy: Any, saved: Any, axes: tuple[int, ...]) -> Any:
        x = saved.x
        zero = x == 0
        y = self.with_axes(saved.y, saved)
        quotient = xp.true_divide(y, xp.where(zero, 1, x))
        has_zero = zero.any(axis=axes, keepdims=True)
        share = xp.where(has_zero, product_of_others(xp, x, axes), quotient)
        return (dy * share).astype(dy.dtype)

    def twin(self, torch: Any, x: Any) -> Any:
        for axis in sorted(self.axes(x.ndim), reverse=True):
            x = torch.prod(x, axis, keepdim=self.keepdim)
        return x

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        x = [[0.0, 2.0, 3.0], [0.0, 0.0, 4.0], [1.0, 2.0, 3.0]]
        want = np.array([0, 0, 6], np.float32)
        yield Case("zeros", cls((1,), False), fixed(x), golden=(want,))
        nan, inf = np.nan, np.inf
        yield Case("zero beside NaN", cls(None, False), fixed([nan, 0.0, 3.0, inf]))


class Quantifier(Reduction):
    """One bool per slice; nonzero elements are true."""

    floats_only = False
    backward = None  # type: ignore[assignment]

    def result(self, x: Spec) -> np.dtype[Any]:
        return dtypes.bool_

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        made = fixed([[True, True], [True, False], [False, False]])
        yield Case("bool", cls((1,), False), made)


class AnyOp(Quantifier):
    """y = whether any x is true."""

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
        return (x != 0).any(axis=axes, keepdims=True)


class AllOp(Quantifier):
    """y = whether all x are true."""

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
        return (x != 0).all(axis=axes, keepdims=True)


def add_up(op: type[Reduction], x: Tensor, dim: Dim, keepdim: bool) -> Tensor:
    """SumOp or MeanOp, by the kernel of TreeSumOp if it applies."""
    if x.device.name not in ("cpu", "meta") and x.dtype == np.float32:
        declared = op.of(dims_of(dim), bool(keepdim))
        axes = tuple(sorted(declared.axes(x.ndim)))
        made = tree_sum(x, axes, kept_shape(x.shape, axes, bool(keepdim)), op is MeanOp)
        if made is not None:
            return made
    return reduce(op, x, dim, keepdim)


def reduce(op: type[Reduction], x: Tensor, dim: Dim, keepdim: bool, *rest: Any) -> Tensor:
    return apply(op.of(dims_of(dim), bool(keepdim), *rest), x)  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def sum(input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Sum over `dim`, one or several axes, by default all. Integers are summed as int64, and the
    sum converted to dtype if given."""
    if dtype is None:
        return add_up(SumOp, input, dim, keepdim)
    return add_up(SumOp, input.to(dtype), dim, keepdim).to(dtype)


@public("gpudl", "Tensor")
def mean(input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Mean over `dim`, one or several axes, by default all."""
    return add_up(MeanOp, input if dtype is None else input.to(dtype), dim, keepdim)


@public("gpudl", "Tensor")
def prod(input: Tensor, dim: Dim = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """Product over `dim`, by default over all axes."""
    if dtype is None:
        return reduce(ProdOp, input, dim, keepdim)
    return reduce(ProdOp, input.to(dtype), dim, keepdim).to(dtype)


@public("gpudl", "Tensor")
def any(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether any element over `dim` is true (nonzero)."""
    return reduce(AnyOp, input, dim, keepdim)


@public("gpudl", "Tensor")
def all(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Whether all elements over `dim` are true (nonzero)."""
    return reduce(AllOp, input, dim, keepdim)
