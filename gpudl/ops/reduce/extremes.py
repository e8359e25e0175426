"""Largest and smallest elements and their indices: max, min, amax, amin, argmax, argmin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, overload

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core import dtypes
from gpudl.core.op import Case, Op, Spec
from gpudl.core.public import Dim, ValuesAndIndices, public
from gpudl.ops.elementwise.base import fixed, normal
from gpudl.ops.elementwise.comparison import maximum, minimum
from gpudl.ops.reduce.sums import Reduction, dims_of, kept_shape
from gpudl.ops.shape.views import axis_of

TIES = [[1.0, 3.0, 3.0], [2.0, np.nan, 5.0]]


class Extremum(Reduction):
    """The largest or smallest element of each slice; equal elements share the gradient."""

    floats_only = False
    empty = False
    saves = ("x", "y")

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        result = super().infer(x)
        refuse_empty(self, self.count(x), x)
        return result

    def derivative(self, xp: Any, dy: Any, saved: Any, axes: tuple[int, ...]) -> Any:
        y = self.with_axes(saved.y, saved)
        equal = (saved.x == y).astype(dy.dtype)
        return dy * equal / equal.sum(axis=axes, keepdims=True)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        yield Case("ties", cls((1,), False), fixed(TIES))
        yield Case("nothing", cls((0,), False), normal((0, 3)), error=f"{cls.name}: x .* empty")


class AmaxOp(Extremum):
    """y = max x."""

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
        return x.max(axis=axes, keepdims=True)


class AminOp(Extremum):
    """y = min x."""

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
        return x.min(axis=axes, keepdims=True)


class OverAll(Extremum):
    """The largest or smallest of all elements; if it is NaN, all NaNs share the gradient."""

    def derivative(self, xp: Any, dy: Any, saved: Any, axes: tuple[int, ...]) -> Any:
        y = saved.y.reshape((1,) * saved.x.ndim)
        chosen = (saved.x == y) | ((saved.x != saved.x) & (y != y))
        return dy * chosen.astype(dy.dtype) / chosen.sum(dtype=dy.dtype)

    def twin(self, torch: Any, x: Any) -> Any:
        return getattr(torch, self.name)(x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        over_all = cls(None, False)
        yield Case("normal", over_all, normal((3, 4, 5)))
        yield Case("no axes", over_all, normal(()))
        yield Case("NaN", over_all, fixed([1.0, np.nan, 3.0]))
        yield Case("ties", over_all, fixed([2.0, 1.0, 2.0, 1.0]))
        yield Case("nothing", over_all, normal((0,)), error=f"{cls.name}: x .* empty")


class MaxOp(OverAll, AmaxOp):
    """y = max x, over all elements."""


class MinOp(OverAll, AminOp):
    """y = min x, over all elements."""


def refuse_empty(op: Op, count: int, x: Spec) -> None:
    if count == 0 and 0 in x.shape:
        raise ValueError(f"{op.name}: x is {list(x.shape)}, empty along the reduced axes")


class Place(Op):
    """Index of the first largest or smallest element along `dim` (None: in the flattened x)."""

    backward = None  # type: ignore[assignment]
    dim: int | None
    keepdim: bool

    find: ClassVar[str]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        n = len(x.shape)
        axes = tuple(range(n)) if self.dim is None else (axis_of(self.name, self.dim, n),)[:n]
        refuse_empty(self, int(np.prod([x.shape[a] for a in axes])), x)
        return (Spec(kept_shape(x.shape, axes, self.keepdim), dtypes.int64),)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        shape = self.infer(Spec(x.shape, x.dtype))[0].shape
        if not x.shape:
            return (xp.zeros((), np.int64),)
        found = getattr(xp, self.find)(x, axis=self.dim)
        return (xp.asarray(found).astype(np.int64).reshape(shape),)

    def twin(self, torch: Any, x: Any) -> Any:
        return getattr(torch, self.name)(x, dim=self.dim, keepdim=self.keepdim)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for dim, keep in [(None, False), (0, False), (-1, True), (1, False)]:
            yield Case(f"{dim} {keep}", cls(dim, keep), normal((3, 4, 5)))
        want = np.array([1, 1]) if cls.find == "argmax" else np.array([0, 1])
        yield Case("ties", cls(1, False), fixed(TIES), golden=(want,))
        yield Case("no axes", cls(None, False), normal(()))
        error = f"{cls.name}: x .* empty"
        yield Case("nothing", cls(None, False), normal((0,)), error=error)
        yield Case("no such axis", cls(3, False), normal((2,)), error=f"{cls.name}: dim is 3")


class ArgmaxOp(Place):
    """y = argmax x."""

    find = "argmax"


class ArgminOp(Place):
    """y = argmin x."""

    find = "argmin"


def _with_indices(
    place: type[Place], input: Tensor, dim: int, keepdim: bool
) -> ValuesAndIndices[Tensor]:
    indices = apply(place.of(dim, True), input)
    values = input.gather(dim, indices) if input.ndim else input.clone()
    if not keepdim:
        values, indices = values.squeeze(dim), indices.squeeze(dim)
    return ValuesAndIndices(values, indices)


@public("gpudl", "Tensor")
def amax(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Maximum over `dim`; equal elements share the gradient."""
    return apply(AmaxOp.of(dims_of(dim), keepdim), input)  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def amin(input: Tensor, dim: Dim = None, keepdim: bool = False) -> Tensor:
    """Minimum over `dim`; equal elements share the gradient."""
    return apply(AminOp.of(dims_of(dim), keepdim), input)  # type: ignore[no-any-return]


@overload
def max(input: Tensor, dim: Tensor | None = None) -> Tensor: ...


@overload
def max(input: Tensor, dim: int, keepdim: bool = False) -> ValuesAndIndices[Tensor]: ...


@public("gpudl", "Tensor")
def max(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Any:
    """max(x): the largest element. max(x, dim): (values, indices) along an axis. max(x, y): the
    elementwise maximum()."""
    if isinstance(dim, Tensor):
        return maximum(input, dim)
    if dim is None:
        return apply(MaxOp.of(None, False), input)
    return _with_indices(ArgmaxOp, input, dim, keepdim)


@overload
def min(input: Tensor, dim: Tensor | None = None) -> Tensor: ...


@overload
def min(input: Tensor, dim: int, keepdim: bool = False) -> ValuesAndIndices[Tensor]: ...


@public("gpudl", "Tensor")
def min(input: Tensor, dim: int | Tensor | None = None, keepdim: bool = False) -> Any:
    """min(x): the smallest element. min(x, dim): (values, indices) along an axis. min(x, y): the
    elementwise minimum()."""
    if isinstance(dim, Tensor):
        return minimum(input, dim)
    if dim is None:
        return apply(MinOp.of(None, False), input)
    return _with_indices(ArgminOp, input, dim, keepdim)


@public("gpudl", "Tensor")
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the first largest element along `dim`, by default in the flattened input."""
    return apply(ArgmaxOp.of(dim, keepdim), input)  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the first smallest element along `dim`, by default in the flattened input."""
    return apply(ArgminOp.of(dim, keepdim), input)  # type: ignore[no-any-return]
