"""Joining and splitting tensors: cat, stack, split, chunk, unbind, roll."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core import dtypes
from gpudl.core.op import Case, Op, Spec, require
from gpudl.core.public import public
from gpudl.ops.elementwise.base import fixed, normal
from gpudl.ops.shape.views import axis_of


class CatOp(Op):
    """y = the concatenation of `count` inputs along `dim`."""

    inputs = ("x0",)
    dim: int
    count: int

    def check_fields(self) -> None:
        object.__setattr__(self, "inputs", tuple(f"x{i}" for i in range(self.count)))
        object.__setattr__(self, "optional", (False,) * self.count)

    def infer(self, *xs: Spec) -> tuple[Spec, ...]:
        first = xs[0]
        require(len(first.shape) > 0, self, "x0", "has no axes; use stack")
        dim = axis_of(self.name, self.dim, len(first.shape))
        total = 0
        for i, x in enumerate(xs):
            fits = len(x.shape) == len(first.shape) and all(
                a == b or axis == dim
                for axis, (a, b) in enumerate(zip(x.shape, first.shape, strict=True))
            )
            message = f"has shape {list(x.shape)}, but x0 has {list(first.shape)}"
            require(fits, self, f"x{i}", f"{message}; they may differ only along axis {dim}")
            total += x.shape[dim]
        dtype = first.dtype
        for x in xs[1:]:
            dtype = dtypes.promote(dtype, x.dtype)
        return (Spec((*first.shape[:dim], total, *first.shape[dim + 1 :]), dtype),)

    def forward(self, xp: Any, *xs: Any) -> tuple[Any, ...]:
        dtype = xs[0].dtype
        for x in xs[1:]:
            dtype = dtypes.promote(dtype, x.dtype)
        return (xp.concatenate([x.astype(dtype, copy=False) for x in xs], axis=self.dim),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy, dim = dys[0], self.dim % dys[0].ndim
        parts = []
        start = 0
        for x in saved.specs:
            stop = start + x.shape[dim]
            part = dy[(slice(None),) * dim + (slice(start, stop),)]
            parts.append(part.astype(x.dtype, copy=False))
            start = stop
        return tuple(parts)

    def twin(self, torch: Any, *xs: Any) -> Any:
        return torch.cat(xs, self.dim)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case("rows", cls(0, 3), normal((2, 3), (1, 3), (4, 3)))
        yield Case("columns", cls(-1, 2), normal((2, 3), (2, 4)))
        yield Case("one", cls(0, 1), normal((2, 3)))
        yield Case("nothing", cls(0, 2), normal((0, 3), (2, 3)))
        yield Case("dtypes", cls(0, 2), fixed([1, 2], [0.5]))
        yield Case("other axes", cls(0, 2), normal((2, 3), (2, 4)), error=r"cat: x1 has shape")
        yield Case("no axes", cls(0, 1), normal(()), error="cat: x0 has no axes")


class SplitOp(Op):
    """Consecutive views of x along `dim`, with the given extents."""

    view = True
    outputs = ("y0",)
    extents: tuple[int, ...]
    dim: int

    def check_fields(self) -> None:
        names = tuple(f"y{i}" for i in range(len(self.extents)))
        object.__setattr__(self, "outputs", names)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        dim = axis_of(self.name, self.dim, len(x.shape))
        fits = bool(x.shape) and sum(self.extents) == x.shape[dim]
        message = (
            f"has shape {list(x.shape)}; the extents {list(self.extents)} must be nonnegative and "
            f"sum to that of axis {dim}"
        )
        require(fits and min(self.extents) >= 0, self, "x", message)
        before, after = x.shape[:dim], x.shape[dim + 1 :]
        return tuple(Spec((*before, e, *after), x.dtype) for e in self.extents)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        lead = (slice(None),) * (self.dim % x.ndim)
        stops = [int(s) for s in np.cumsum(self.extents)]
        parts = zip(stops, self.extents, strict=True)
        return tuple(x[lead + (slice(s - e, s),)] for s, e in parts)  # noqa: RUF005

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        x = saved.specs[0]
        dx = xp.zeros(x.shape, x.dtype)
        for part, dy in zip(self.forward(xp, dx), dys, strict=True):
            if dy is not None:
                part[...] = dy
        return (dx,)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.split(x, self.extents, self.dim)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case("rows", cls((1, 3), 0), normal((4, 3)))
        yield Case("columns", cls((2, 0, 1), -1), normal((4, 3)))
        yield Case("too few", cls((1, 1), 0), normal((3,)), error=r"split: x has shape \[3\]")


@public("gpudl")
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Concatenate tensors along an axis; their other extents must agree."""
    if not tensors:
        raise ValueError("cat: got no tensors; it needs at least one")
    others = [x for x in tensors if x.shape != (0,)]  # PyTorch ignores empty vectors
    if others and any(x.ndim > 1 for x in others):
        tensors = others
    return apply(CatOp.of(dim, len(tensors)), *tensors)  # type: ignore[no-any-return]


@public("gpudl")
def concat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Alias of cat()."""
    return cat(tensors, dim)


@public("gpudl")
def concatenate(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Alias of cat(), NumPy's name."""
    return cat(tensors, dim)


@public("gpudl")
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Stack tensors of equal shape along a new axis."""
    shapes = {tuple(x.shape) for x in tensors}
    if len(shapes) != 1:
        raise ValueError(f"stack: shapes are {sorted(shapes)}; they must all be equal")
    axis = axis_of("stack", dim, tensors[0].ndim + 1)
    return cat([x.unsqueeze(axis) for x in tensors], axis)


@public("gpudl", "Tensor")
def split(
    tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Views along an axis: of the given extents, or of one extent (the last may be smaller)."""
    axis = axis_of("split", dim, tensor.ndim)
    if isinstance(split_size_or_sections, int):
        size, extent = split_size_or_sections, tensor.shape[axis]
        if size <= 0:
            raise ValueError(f"split: split_size is {size}; it must be positive")
        starts = range(0, max(extent, 1), size)
        extents = tuple(min(size, extent - start) for start in starts)
    else:
        extents = tuple(split_size_or_sections)
    found = apply(SplitOp.of(extents, axis), tensor)
    return found if isinstance(found, tuple) else (found,)


@public("gpudl", "Tensor")
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views along an axis, of equal extent except the last."""
    if chunks < 1:
        raise ValueError(f"chunk: chunks is {chunks}; it must be positive")
    extent = input.shape[axis_of("chunk", dim, input.ndim)]
    return split(input, max(1, -(-extent // chunks)), dim)


@public("gpudl", "Tensor")
def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along an axis, without it."""
    axis = axis_of("unbind", dim, input.ndim)
    if input.shape[axis] == 0:
        return ()
    return tuple(part.squeeze(axis) for part in split(input, 1, axis))


@public("gpudl", "Tensor")
def roll(input: Tensor, shifts: int | Sequence[int], dims: int | Sequence[int] = ()) -> Tensor:
    """Shift along an axis, or each shift along its axis; elements pushed off the end reappear at
    the front. Without dims, the elements shift as one vector."""
    moves = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    axes = (dims,) if isinstance(dims, int) else tuple(dims)
    if not axes and len(moves) == 1:
        return roll(input.reshape(-1), moves[0], 0).reshape(input.shape)
    if len(moves) != len(axes):
        raise ValueError(f"roll: got {len(moves)} shifts for {len(axes)} dims; give one for each")
    if len(axes) != 1:
        result = input.clone()
        for move, dim in zip(moves, axes, strict=True):
            result = roll(result, move, dim)
        return result
    axis = axis_of("roll", axes[0], input.ndim)
    extent = input.shape[axis]
    step = moves[0] % extent if extent else 0
    if not step:
        return input.clone()
    front, back = split(input, (extent - step, step), axis)
    return cat((back, front), axis)
