"""Sorting and cumulative sums along an axis: sort, argsort, topk, cumsum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core import dtypes
from gpudl.core.op import Case, Op, Spec, is_floating, require
from gpudl.core.public import ValuesAndIndices, public
from gpudl.ops.elementwise.base import fixed, normal
from gpudl.ops.reduce.segments import flat_index
from gpudl.ops.shape.views import axis_of


class SortOp(Op):
    """y = x sorted along `dim`, and the index of each element in x. Stable; NaN counts as the
    largest."""

    outputs = ("y", "indices")
    saves = ("indices",)
    dim: int
    descending: bool

    def count(self, x: Spec) -> int:
        return x.shape[self.dim] if x.shape else 1

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        axis_of(self.name, self.dim, len(x.shape))
        return (x, Spec(x.shape, dtypes.int64))

    def order(self, xp: Any, x: Any) -> Any:
        """The sorting permutation. In descending order it is that of reversed x, reversed, which
        keeps it stable."""
        if not self.descending:
            return xp.argsort(x, axis=self.dim, kind="stable")
        n = x.shape[self.dim]
        found = xp.argsort(xp.flip(x, self.dim), axis=self.dim, kind="stable")
        return n - 1 - xp.flip(found, self.dim)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        if not x.shape:
            return x.copy(), xp.zeros((), np.int64)
        indices = self.order(xp, x).astype(np.int64, copy=False)
        return xp.take_along_axis(x, indices, self.dim), indices

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        x, indices = saved.specs[0], saved.indices
        dx = xp.zeros(x.size, x.dtype)
        if x.shape:
            dx[flat_index(xp, x.shape, self.dim % len(x.shape), indices)] = dys[0].reshape(-1)
        else:
            dx[0] = dys[0]
        return (dx.reshape(x.shape),)

    def twin(self, torch: Any, x: Any) -> Any:
        return tuple(torch.sort(x, dim=self.dim, descending=self.descending, stable=True))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for falling in (False, True):
            for dim in (0, -1):
                yield Case(f"{dim} {falling}", cls(dim, falling), normal((4, 5)))
            x = [2.0, np.nan, 1.0, 2.0, -np.inf]
            y = [np.nan, 2, 2, 1, -np.inf] if falling else [-np.inf, 1, 2, 2, np.nan]
            i = [1, 0, 3, 2, 4] if falling else [4, 2, 0, 3, 1]
            want = (np.array(y, np.float32), np.array(i))
            yield Case(f"ties {falling}", cls(0, falling), fixed(x), golden=want)
        yield Case("integers", cls(0, True), fixed([3, 1, 2]))
        yield Case("nothing", cls(0, False), normal((0, 3)))
        yield Case("no axes", cls(0, False), normal(()))
        yield Case("no such axis", cls(1, False), normal((3,)), error="sort: dim is 1")


class TopkOp(SortOp):
    """y = the k largest (or smallest) elements along `dim`, sorted, and their indices in x."""

    k: int

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        dim = axis_of(self.name, self.dim, len(x.shape))
        extent = x.shape[dim] if x.shape else 1
        require(
            0 <= self.k <= extent,
            self,
            "k",
            f"is {self.k}; it must be from 0 to {extent}, axis {dim}",
        )
        shape = (*x.shape[:dim], self.k, *x.shape[dim + 1 :]) if x.shape else ()
        return Spec(shape, x.dtype), Spec(shape, dtypes.int64)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        if not x.shape:
            return super().forward(xp, x)
        first = (slice(None),) * (self.dim % x.ndim) + (slice(self.k),)
        indices = self.order(xp, x)[first].astype(np.int64)
        return xp.take_along_axis(x, indices, self.dim), indices

    def twin(self, torch: Any, x: Any) -> Any:
        return tuple(torch.topk(x, self.k, self.dim, self.descending))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for largest in (True, False):
            yield Case(f"rows {largest}", cls(0, largest, 2), normal((4, 5)))
            yield Case(f"columns {largest}", cls(-1, largest, 3), normal((2, 4, 5)))
        want = (np.array([5.0, 3.0], np.float32), np.array([2, 1]))
        yield Case("numbers", cls(0, True, 2), fixed([1.0, 3.0, 5.0]), golden=want)
        yield Case("none", cls(0, True, 0), normal((4,)))
        yield Case(
            "too many", cls(0, True, 5), normal((4,)), error="topk: k is 5; it must be from 0 to 4"
        )


class CumsumOp(Op):
    """y[i] = x[0] + … + x[i] along `dim`; integers and bool as int64."""

    dim: int

    def result(self, x: Any) -> np.dtype[Any]:
        return x.dtype if is_floating(x.dtype) else dtypes.int64

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        axis_of(self.name, self.dim, len(x.shape))
        return (Spec(x.shape, self.result(x)),)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        if not x.shape:
            return (x.astype(self.result(x)),)
        return (self.scan(xp, x, self.result(x)),)

    def scan(self, xp: Any, x: Any, dtype: Any) -> Any:
        """In float64, because the error of a float32 scan grows with its length."""
        exact = dtypes.float64 if is_floating(dtype) else dtype
        return xp.cumsum(x, axis=self.dim, dtype=exact).astype(dtype, copy=False)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy = dys[0]
        if not dy.shape:
            return (dy,)
        return (xp.flip(self.scan(xp, xp.flip(dy, self.dim), dy.dtype), self.dim),)

    def reduction(self, x: Spec) -> int:
        return max(1, x.shape[self.dim]) if x.shape else 1

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.cumsum(x, self.dim)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for dim in (0, 1, -1):
            yield Case(f"dim {dim}", cls(dim), normal((3, 4, 5)))
        yield Case("integers", cls(0), fixed([1, 2, 3]), golden=(np.array([1, 3, 6]),))
        yield Case("nothing", cls(0), normal((0, 3)))
        yield Case("no axes", cls(0), normal(()))
        yield Case("no such axis", cls(2), normal((3, 2)), error="cumsum: dim is 2")


@public("gpudl", "Tensor")
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True
) -> ValuesAndIndices[Tensor]:
    """(values, indices) sorted along an axis. Always stable; NaN counts as the largest."""
    return ValuesAndIndices(*apply(SortOp.of(dim, bool(descending)), input))


@public("gpudl", "Tensor")
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices of sort()."""
    indices: Tensor = sort(input, dim, descending).indices
    return indices


@public("gpudl", "Tensor")
def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> ValuesAndIndices[Tensor]:
    """(values, indices) of the k largest or smallest elements along an axis, always sorted."""
    return ValuesAndIndices(*apply(TopkOp.of(dim, bool(largest), int(k)), input))


@public("gpudl", "Tensor")
def cumsum(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Cumulative sums along an axis; integers are summed as int64."""
    if dtype is None:
        return apply(CumsumOp.of(dim), input)  # type: ignore[no-any-return]
    return apply(CumsumOp.of(dim), input.to(dtype)).to(dtype)  # type: ignore[no-any-return]
