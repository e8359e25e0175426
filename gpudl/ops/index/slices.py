"""Operators that select elements: slices, take, where, masks. gather and scatter: scatter.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, overload

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core import dtypes
from gpudl.core.op import Array, Case, Op, Spec
from gpudl.core.public import Number, public
from gpudl.ops.elementwise.base import (
    broadcast_shapes,
    fixed,
    normal,
    number,
    operands,
    unbroadcast,
)
from gpudl.ops.reduce.segments import last_of_each, sum_repeated
from gpudl.ops.shape.views import axis_of


class Cut(tuple[int | None, ...]):
    """(start, stop, step) of a slice; slices themselves are not hashable before Python 3.12."""

    __slots__ = ()


class SliceOp(Op):
    """y = x[key] for integers, slices, None and …; a view. `key` holds slices as Cut."""

    view = True
    key: tuple[Any, ...]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        given = sum(1 for k in self.key if k is not None and k is not Ellipsis)
        if given > len(x.shape):
            raise IndexError(f"slice: got {given} indices for a tensor with {len(x.shape)} axes")
        try:
            return (Spec(np.broadcast_to(np.int8(0), x.shape)[self.index].shape, x.dtype),)
        except IndexError as error:
            raise IndexError(f"slice: x {list(x.shape)}: {error}") from None

    @property
    def index(self) -> tuple[Any, ...]:
        return tuple(slice(*k) if isinstance(k, Cut) else k for k in self.key)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        key = self.index
        return (
            x[key if Ellipsis in key else (*key, Ellipsis)],
        )  # with … NumPy returns a view even of one element

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dx = xp.zeros(saved.specs[0].shape, dys[0].dtype)
        dx[self.index] = dys[0]
        return (dx,)

    def twin(self, torch: Any, x: Any) -> Any:
        if any(isinstance(k, Cut) and (k[2] or 1) < 0 for k in self.key):
            return x.flip(0)[1:]  # PyTorch has no negative steps
        return x[self.index]

    @classmethod
    def cases(cls) -> Iterator[Case]:
        every = Cut((None, None, None))
        keys: dict[str, tuple[Any, ...]] = {
            "integer": (1,), "negative": (-1, -2), "slice": (Cut((1, 3, None)),),
            "step": (every, Cut((None, None, 2))), "new axis": (None, 0, None, Ellipsis),
            "last": (Ellipsis, 1), "all": (), "empty": (Cut((2, 1, None)),),
            "one element": (0, 1, 2),
        }  # fmt: skip
        for name, key in keys.items():
            yield Case(name, cls(key), normal((3, 4, 5)))
        want = (np.array([2.0, 1.0], np.float32),)
        yield Case("negative step", cls((Cut((-2, None, -1)),)), fixed([1.0, 2.0, 3.0]), want)
        yield Case(
            "too many", cls((0, 0)), normal((3,)), error="slice: got 2 indices for .* 1 axes"
        )
        yield Case("too far", cls((3,)), normal((3, 2)), error=r"slice: x \[3, 2\]: index 3")


class TakeOp(Op):
    """y[…, i…, …] = x[…, index[i…], …]: the axes of an integer index replace axis `dim` of x.
    Gradients of repeated indices are summed in a fixed order."""

    inputs = ("x", "index")
    saves = ("index",)
    dim: int

    def infer(self, x: Spec, index: Spec) -> tuple[Spec, ...]:
        require_integers(self, index)
        dim = axis_of(self.name, self.dim, len(x.shape))
        return (Spec((*x.shape[:dim], *index.shape, *x.shape[dim + 1 :]), x.dtype),)

    def forward(self, xp: Any, x: Any, index: Any) -> tuple[Any, ...]:
        check_range(self, xp, index, x.shape[self.dim])
        return (xp.take(x, index, axis=self.dim),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        x, index = saved.specs
        dim = self.dim % len(x.shape)
        n, k = x.shape[dim], len(index.shape)
        lead = xp.moveaxis(dys[0], tuple(range(dim, dim + k)), tuple(range(k)))
        rest = lead.shape[k:]
        flat = saved.index.reshape(-1)
        dx = sum_repeated(
            xp, lead.reshape(index.size, *rest), xp.where(flat < 0, flat + n, flat), n
        )
        return xp.moveaxis(dx, 0, dim), None

    def reduction(self, x: Spec, index: Spec) -> int:
        return max(1, index.size)

    def twin(self, torch: Any, x: Any, index: Any) -> Any:
        return x[(slice(None),) * (self.dim % x.ndim) + (index,)]

    @classmethod
    def cases(cls) -> Iterator[Case]:
        index = np.array([2, 0, 2, 2, -1])
        for dim in (0, 1, -1):
            yield Case(f"dim {dim}", cls(dim), lambda rng: (*normal((3, 4, 5))(rng), index))
        matrix, one = np.array([[0, 1], [1, 1]]), np.array(1)
        many = np.random.default_rng(0).integers(0, 7, 1000)
        for name, i in {"matrix": matrix, "scalar": one, "many": many, "none": index[:0]}.items():
            yield Case(name, cls(0), lambda rng, i=i: (*normal((7, 3))(rng), i))
        for bad in (3, -4):
            beyond = fixed([1.0, 2.0, 3.0], [bad])
            yield Case(f"beyond {bad}", cls(0), beyond, error=f"take: index is {bad}; axis .* 3")
        yield Case("floats", cls(0), normal((3,), (2,)), error="take: index is float32")


def require_integers(op: Op, index: Spec) -> None:
    if index.dtype.kind not in "iu":
        raise TypeError(f"{op.name}: index is {index.dtype.name}; it must hold integers (.long())")


def check_range(op: Op, xp: Any, index: Array, extent: int) -> None:
    """Raise IndexError for indices out of range, but only on the cpu: a GPU would have to be waited
    for."""
    if xp is not np or not index.size:
        return
    low, high = int(index.min()), int(index.max())
    if low < -extent or high >= extent:
        bad = high if high >= extent else low
        raise IndexError(
            f"{op.name}: index is {bad}; axis {getattr(op, 'dim', 0)} has {extent} elements"
        )


class IndexPutOp(Op):
    """y = x, except y[index[i]] = value[i] along the first axis. The last of repeated indices
    wins."""

    inputs = ("x", "index", "value")
    saves = ("index",)

    def infer(self, x: Spec, index: Spec, value: Spec) -> tuple[Spec, ...]:
        require_integers(self, index)
        want = (*index.shape, *x.shape[1:])
        if len(index.shape) != 1 or value.shape != want or value.dtype != x.dtype:
            raise ValueError(
                f"index_put: value is {value}; it must be {Spec(want, x.dtype)} for index {index}"
            )
        return (x,)

    def forward(self, xp: Any, x: Any, index: Any, value: Any) -> tuple[Any, ...]:
        check_range(self, xp, index, x.shape[0])
        index = xp.where(index < 0, index + x.shape[0], index)
        wins = last_of_each(xp, index)
        y = x.copy()
        y[index[wins]] = value[wins]
        return (y,)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dx = dys[0].copy()
        index = xp.where(saved.index < 0, saved.index + dx.shape[0], saved.index)
        dvalue = dx[index]
        dvalue[~last_of_each(xp, index)] = 0
        dx[index] = 0
        return dx, None, dvalue

    @classmethod
    def cases(cls) -> Iterator[Case]:
        index = np.array([2, 0, -1, 1])

        def make(rng: np.random.Generator) -> tuple[Any, ...]:
            x, value = normal((4, 3), (4, 3))(rng)
            return x, index, value

        yield Case("rows", cls(), make)
        want = (np.array([0.0, 3.0], np.float32),)
        yield Case("twice", cls(), fixed([0.0, 1.0], [1, 1], [2.0, 3.0]), golden=want)
        yield Case("shapes", cls(), fixed([0.0], [0], [1.0, 2.0]), error="index_put: value is")
        yield Case("beyond", cls(), fixed([0.0], [1], [1.0]), error="index_put: index is 1")


class WhereOp(Op):
    """z = x where condition is true, else y; with broadcasting."""

    inputs = ("condition", "x", "y")
    outputs = ("z",)
    saves = ("condition",)

    def infer(self, condition: Spec, x: Spec, y: Spec) -> tuple[Spec, ...]:
        if condition.dtype != np.bool_:
            raise TypeError(f"where: condition is {condition.dtype.name}; it must be bool")
        shape = broadcast_shapes(self, self.inputs, (condition, x, y))
        return (Spec(shape, dtypes.result_type(x, y)),)

    def forward(self, xp: Any, condition: Any, x: Any, y: Any) -> tuple[Any, ...]:
        z = xp.where(condition, x, y)
        return (z.astype(dtypes.result_type(x, y), copy=False),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        _, x, y = saved.specs
        dz, zero = dys[0], dys[0].dtype.type(0)
        return (
            None,
            unbroadcast(xp.where(saved.condition, dz, zero), x) if needs[1] else None,
            unbroadcast(xp.where(saved.condition, zero, dz), y) if needs[2] else None,
        )

    def twin(self, torch: Any, condition: Any, x: Any, y: Any) -> Any:
        return torch.where(condition, x, y)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for c, a, b in [((3, 4), (3, 4), (3, 4)), ((3, 1), (4,), ()), ((0, 2), (2,), (0, 1))]:

            def make(rng: np.random.Generator, c: Any = c, a: Any = a, b: Any = b) -> Any:
                return (rng.random(c) < 0.5, *normal(a, b)(rng))

            yield Case(f"{list(c)} {list(a)} {list(b)}", cls(), make)
        yield Case("integers", cls(), fixed([True, False], [1, 2], [0.5, 0.5]))
        error = "where: condition is float32"
        yield Case("no condition", cls(), normal((2,), (2,), (2,)), error=error)


@public("gpudl", "Tensor")
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of input along `dim` given by a vector of integers."""
    if index.ndim > 1:
        raise ValueError(f"index_select: index has shape {list(index.shape)}; it must be a vector")
    if not input.ndim:
        return index_select(input.reshape(1), dim, index).reshape(())
    return apply(TakeOp.of(dim), input, index.reshape(-1))  # type: ignore[no-any-return]


@overload
def where(condition: Tensor) -> tuple[Tensor, ...]: ...


@overload
def where(condition: Tensor, input: Tensor | Number, other: Tensor | Number) -> Tensor: ...


@public("gpudl")
def where(
    condition: Tensor, input: Tensor | Number | None = None, other: Tensor | Number | None = None
) -> Any:
    """input where condition is true, else other. where(condition): its indices, one per axis."""
    if input is None or other is None:
        return condition.nonzero(as_tuple=True)
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        is_float = isinstance(input, float) or isinstance(other, float)
        kind = dtypes.float32 if is_float else dtypes.int64
        input = Tensor.from_array(kind.type(input), condition.device)
    if condition.dtype == np.uint8:  # a mask, as in PyTorch
        condition = condition.bool()
    return apply(WhereOp.of(), condition, *operands(input, other))


@public("gpudl", "Tensor")
def masked_fill(input: Tensor, mask: Tensor, value: Tensor | Number) -> Tensor:
    """input with `value` where mask is true."""
    fill = value if isinstance(value, Tensor) else number(value, input)
    return where(mask, fill.to(input.dtype), input)


@public("Tensor")
def masked_fill_(self: Tensor, mask: Tensor, value: Tensor | Number) -> Tensor:
    """masked_fill(), in place."""
    return self._changed_in_place(masked_fill(self, mask, value))


@public("gpudl", "Tensor")
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where mask is true, as a vector."""
    shape = broadcast_shapes(TakeOp.of(0), ("input", "mask"), (_spec(input), _spec(mask)))
    return input.expand(shape)[mask.expand(shape)]


def _spec(x: Tensor) -> Spec:
    return Spec(x.shape, x.dtype)


@overload
def nonzero(input: Tensor, *, as_tuple: Literal[False] = False) -> Tensor: ...


@overload
def nonzero(input: Tensor, *, as_tuple: Literal[True]) -> tuple[Tensor, ...]: ...


@public("gpudl", "Tensor")
def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Indices of the nonzero elements: an (n, axes) matrix, or a tuple with one vector per axis.
    A scalar counts as a vector of one element, without an axis in the matrix."""
    if not input.ndim:
        place = nonzero(input.reshape(1), as_tuple=True)
        return place if as_tuple else place[0].reshape(-1, 1)[:, :0]
    found = [Tensor.from_array(i, input.device) for i in input.device.xp.nonzero(input.array)]
    if as_tuple:
        return tuple(found)
    xp = input.device.xp
    columns = [f.array for f in found]
    return Tensor.from_array(xp.stack(columns, 1), input.device)


@public("gpudl", "functional")
def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """y[…, c] = 1 where tensor[…] == c, else 0, as int64. num_classes: -1 for largest class + 1.

    Raises ValueError for classes outside 0 … num_classes - 1.
    """
    if tensor.dtype.kind not in "iu":
        raise TypeError(f"one_hot: tensor is {tensor.dtype.name}; it must hold class numbers")
    low, high = (int(tensor.min().item()), int(tensor.max().item())) if tensor.numel() else (0, -1)
    classes = high + 1 if num_classes == -1 else num_classes
    if low < 0 or high >= classes:
        raise ValueError(
            f"one_hot: tensor holds classes {low} to {high}; they must be from 0 to {classes - 1}"
        )
    xp = tensor.device.xp
    hot = tensor.array[..., None] == xp.arange(classes)
    return Tensor.from_array(hot.astype(np.int64), tensor.device)


@public("Tensor")
def fill_(self: Tensor, value: Number) -> Tensor:
    """Set every element to `value`."""
    filled = number(value, self).to(self.dtype)
    return self._changed_in_place(filled.expand(self.shape))


@public("Tensor")
def zero_(self: Tensor) -> Tensor:
    """Set every element to 0."""
    return fill_(self, 0)
