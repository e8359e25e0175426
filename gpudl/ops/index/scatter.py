"""Operators with one index per element along an axis: gather, scatter, scatter_add."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Array, Case, Op, Spec
from gpudl.core.public import Number, public
from gpudl.ops.elementwise.base import fixed, normal, number
from gpudl.ops.index.slices import check_range, require_integers
from gpudl.ops.reduce.segments import flat_index, last_of_each, sum_repeated
from gpudl.ops.shape.views import axis_of


class AlongAxis(Op):
    """Base of operators with one index per element, along `dim`."""

    dim: int

    def check(self, x: Spec, index: Spec) -> tuple[Spec, ...]:
        require_integers(self, index)
        axis_of(self.name, self.dim, len(x.shape))
        n = len(x.shape)
        dim = self.dim % max(n, 1)
        fits = n == len(index.shape) and all(
            i <= s or axis == dim
            for axis, (s, i) in enumerate(zip(x.shape, index.shape, strict=True))
        )
        if not fits:
            raise ValueError(
                f"{self.name}: index has shape {list(index.shape)}; it must have as many axes as x "
                f"{list(x.shape)}, none longer except axis {dim}"
            )
        return (x,)

    def flat(self, xp: Any, shape: tuple[int, ...], index: Array) -> Array:
        dim = self.dim % max(len(shape), 1)
        extent = shape[dim] if shape else 1
        check_range(self, xp, index, extent)
        return flat_index(xp, shape, dim, xp.where(index < 0, index + extent, index))


class GatherOp(AlongAxis):
    """y[i,j,k] = x[i, index[i,j,k], k] for dim 1; likewise for other axes."""

    inputs = ("x", "index")
    saves = ("index",)

    def infer(self, x: Spec, index: Spec) -> tuple[Spec, ...]:
        self.check(x, index)
        return (Spec(index.shape, x.dtype),)

    def forward(self, xp: Any, x: Any, index: Any) -> tuple[Any, ...]:
        return (x.reshape(-1)[self.flat(xp, x.shape, index)].reshape(index.shape),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        x = saved.specs[0]
        flat = self.flat(xp, x.shape, saved.index)
        return sum_repeated(xp, dys[0].reshape(-1), flat, x.size).reshape(x.shape), None

    def reduction(self, x: Spec, index: Spec) -> int:
        return max(1, index.size)

    def twin(self, torch: Any, x: Any, index: Any) -> Any:
        return torch.gather(x, self.dim, index)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for dim in (0, 1, -1):
            yield Case(f"dim {dim}", cls(dim), along_axis(dim, (3, 4, 5), (2, 3, 5)))
        yield Case("numbers", cls(1), fixed([[1.0, 2.0], [3.0, 4.0]], [[0, 0], [1, 0]]),
                   golden=(np.array([[1, 1], [4, 3]], np.float32),))  # fmt: skip
        yield Case("nothing", cls(0), along_axis(0, (3, 4), (0, 4)))
        wrong = fixed([[1.0]], [0])
        yield Case(
            "fewer axes", cls(0), wrong, error=r"gather: index has shape \[1\]; .*as x \[1, 1\]"
        )


def along_axis(dim: int, x: tuple[int, ...], i: tuple[int, ...], values: int = 0) -> Any:
    """make(rng) of a Case: x, an index of shape i along dim, and `values` arrays of that shape."""

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        more = normal(*[i] * values)(rng)
        return (*normal(x)(rng), rng.integers(0, x[dim], i), *more)

    return make


class ScatterOp(AlongAxis):
    """y = x, except y[i, index[i,j,k], k] = value[i,j,k] for dim 1. The last of repeated indices
    wins."""

    inputs = ("x", "index", "value")
    saves = ("index",)

    def infer(self, x: Spec, index: Spec, value: Spec) -> tuple[Spec, ...]:
        if value.shape != index.shape:
            raise ValueError(
                f"{self.name}: value has shape {list(value.shape)}; it must be index's, "
                f"{list(index.shape)}"
            )
        if value.dtype != x.dtype:
            raise TypeError(
                f"{self.name}: value is {value.dtype.name}; it must be {x.dtype.name}, like x"
            )
        return self.check(x, index)

    def forward(self, xp: Any, x: Any, index: Any, value: Any) -> tuple[Any, ...]:
        flat = self.flat(xp, x.shape, index)
        wins = last_of_each(xp, flat)
        y = x.reshape(-1).copy()
        y[flat[wins]] = value.reshape(-1)[wins]
        return (y.reshape(x.shape),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy = dys[0]
        flat = self.flat(xp, dy.shape, saved.index)
        dx = dy.reshape(-1).copy()
        dvalue = xp.where(last_of_each(xp, flat), dx[flat], 0).reshape(saved.index.shape)
        dx[flat] = 0
        return dx.reshape(dy.shape), None, dvalue.astype(dy.dtype)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for dim in (0, 1, -1):
            yield Case(f"dim {dim}", cls(dim), along_axis(dim, (3, 4, 5), (2, 3, 4), 1))
        x, index, value = [[0.0, 0.0]], [[1, 1]], [[5.0, 7.0]]
        want = [[0, 7]] if cls.__name__ == "ScatterOp" else [[0, 12]]
        yield Case("twice", cls(1), fixed(x, index, value), (np.array(want, np.float32),))
        made = fixed([1.0], [0], [1.0, 2.0])
        yield Case(
            "shapes", cls(0), made, error=rf"{cls.name}: value has shape \[2\]; it must be ind"
        )


class ScatterAddOp(ScatterOp):
    """y = x, then y[i, index[i,j,k], k] += value[i,j,k] for dim 1, in a fixed order."""

    def forward(self, xp: Any, x: Any, index: Any, value: Any) -> tuple[Any, ...]:
        flat = self.flat(xp, x.shape, index)
        return (x + sum_repeated(xp, value.reshape(-1), flat, x.size).reshape(x.shape),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy = dys[0]
        flat = self.flat(xp, dy.shape, saved.index)
        return dy, None, dy.reshape(-1)[flat].reshape(saved.index.shape)

    def reduction(self, x: Spec, index: Spec, value: Spec) -> int:
        return max(1, index.size)

    def twin(self, torch: Any, x: Any, index: Any, value: Any) -> Any:
        return torch.scatter_add(x, self.dim, index, value)


@public("gpudl", "Tensor")
def gather(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """y[i,j,k] = input[i, index[i,j,k], k] for dim 1; likewise for other axes."""
    return apply(GatherOp.of(dim), input, index)  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """gather() whose input and indices broadcast along the other axes; without dim, of the flat
    input."""
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1))
    if input.ndim != indices.ndim or not -input.ndim <= dim < input.ndim:
        return gather(input, dim, indices)  # refuses them
    axis = dim % input.ndim

    def spread(x: Tensor) -> Tensor:
        return x.expand(*(*shape[:axis], x.shape[axis], *shape[axis + 1 :]))

    sides = ((*x.shape[:axis], 1, *x.shape[axis + 1 :]) for x in (input, indices))
    shape = np.broadcast_shapes(*sides)
    return gather(spread(input), dim, spread(indices))


def _values(input: Tensor, index: Tensor, src: Tensor | Number) -> Tensor:
    """The values to write: a repeated number, or the part of src that index covers."""
    if not isinstance(src, Tensor):
        return number(src, input).to(input.dtype).expand(index.shape)
    if src.shape != index.shape and len(src.shape) == len(index.shape):
        return src[tuple(slice(0, n) for n in index.shape)]
    return src


@public("gpudl", "Tensor")
def scatter(input: Tensor, dim: int, index: Tensor, src: Tensor | Number) -> Tensor:
    """A copy of input with y[i, index[i,j,k], k] = src[i,j,k] for dim 1. The last of repeated
    indices wins."""
    return apply(ScatterOp.of(dim), input, index, _values(input, index, src))  # type: ignore[no-any-return]


@public("Tensor")
def scatter_(self: Tensor, dim: int, index: Tensor, src: Tensor | Number) -> Tensor:
    """scatter(), in place."""
    return self._changed_in_place(scatter(self, dim, index, src))


@public("gpudl", "Tensor")
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of input with y[i, index[i,j,k], k] += src[i,j,k] for dim 1, in a fixed order."""
    return apply(ScatterAddOp.of(dim), input, index, _values(input, index, src))  # type: ignore[no-any-return]


@public("Tensor")
def scatter_add_(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """scatter_add(), in place."""
    return self._changed_in_place(scatter_add(self, dim, index, src))
