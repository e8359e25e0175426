"""Views and rearrangements: reshape, permute, expand, flip, and functions composed of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Case, Op, Spec, require
from gpudl.core.public import public
from gpudl.devices.find import MetaArray
from gpudl.ops.elementwise.base import normal, unbroadcast

Shape = tuple[int, ...]


def axis_of(op: str, dim: int, ndim: int) -> int:
    """The axis counted from the front; a tensor without axes counts as having one."""
    extent = max(ndim, 1)
    if not -extent <= dim < extent:
        raise IndexError(
            f"{op}: dim is {dim}; it must be from {-extent} to {extent - 1} for {ndim} axes"
        )
    return dim % extent


def sizes(op: str, shape: tuple[Any, ...]) -> Shape:
    """The shape (2, 3) of both f(2, 3) and f((2, 3))."""
    if len(shape) == 1 and isinstance(shape[0], Sequence):
        shape = tuple(shape[0])
    try:
        return tuple([s.__index__() for s in shape])
    except AttributeError:
        raise TypeError(f"{op}: expected integers, got {shape!r}") from None


class ReshapeOp(Op):
    """The same elements in the same order with another shape; -1 is inferred."""

    view = True
    shape: Shape

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        known = math.prod(s for s in self.shape if s != -1)
        shape = self.shape
        if -1 in shape and known and x.size % known == 0:
            shape = tuple(x.size // known if s == -1 else s for s in shape)
        fits = shape.count(-1) == 0 and math.prod(shape) == x.size and min(shape, default=0) >= 0
        message = f"has shape {list(x.shape)}; {list(self.shape)} must hold {x.size} elements too"
        require(fits, self, "x", message)
        return (Spec(shape, x.dtype),)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        return (x.reshape(self.shape),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        return (dys[0].reshape(saved.specs[0].shape),)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.reshape(x, self.shape)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for a, b in [((2, 6), (3, 4)), ((2, 6), (-1, 2)), ((), (1, 1)), ((0, 3), (3, 0))]:
            yield Case(f"{list(a)} to {list(b)}", cls(b), normal(a))
        yield Case("transposed", cls((6,)), lambda rng: (normal((2, 3))(rng)[0].T,))
        yield Case("too few", cls((4, 4)), normal((2, 6)), error=r"reshape: x has shape \[2, 6\]")
        yield Case("two unknown", cls((-1, -1)), normal((2, 6)), error="reshape: x has shape")


class PermuteOp(Op):
    """x with its axes in the order `dims`."""

    view = True
    dims: tuple[int, ...]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        n = len(x.shape)
        order = tuple(axis_of("permute", d, n) for d in self.dims)
        fits = sorted(order) == list(range(n))
        require(
            fits, self, "dims", f"are {list(self.dims)}; they must name each of the {n} axes once"
        )
        return (Spec(tuple(x.shape[d] for d in order), x.dtype),)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        return (x.transpose(self.dims),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        n = len(self.dims)
        order = [d % n for d in self.dims]
        return (dys[0].transpose([order.index(d) for d in range(n)]),)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.permute(x, self.dims)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case("three axes", cls((2, 0, 1)), normal((2, 3, 4)))
        yield Case("negative", cls((0, -1, 1)), normal((2, 3, 4)))
        yield Case("no axes", cls(()), normal(()))
        yield Case("twice one", cls((0, 0)), normal((2, 3)), error=r"permute: dims are \[0, 0\]")
        yield Case("out of range", cls((0, 2)), normal((2, 3)), error="permute: dim is 2")


class ExpandOp(Op):
    """Repeat axes of extent 1 without copying; -1 keeps an extent."""

    view = True
    shape: Shape

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        lead = len(self.shape) - len(x.shape)
        old = (1,) * lead + x.shape
        fits = lead >= 0 and all(
            new == was or (was == 1 and new >= 0) or (new == -1 and axis >= lead)
            for axis, (new, was) in enumerate(zip(self.shape, old, strict=False))
        )
        message = f"has shape {list(x.shape)}; it cannot expand to {list(self.shape)}"
        require(fits, self, "x", f"{message}: only axes of extent 1 can be repeated")
        shape = tuple(w if n == -1 else n for n, w in zip(self.shape, old, strict=True))
        return (Spec(shape, x.dtype),)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        return (xp.broadcast_to(x, self.infer(Spec(x.shape, x.dtype))[0].shape),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        return (unbroadcast(dys[0], saved.specs[0]),)

    def reduction(self, x: Spec) -> int:
        return max(1, self.infer(x)[0].size // max(1, x.size))

    def twin(self, torch: Any, x: Any) -> Any:
        return x.expand(self.shape)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for a, b in [((3, 1), (3, 4)), ((4,), (2, 3, -1)), ((), (2, 2)), ((1, 3), (0, 3))]:
            yield Case(f"{list(a)} to {list(b)}", cls(b), normal(a))
        yield Case("not 1", cls((3, 4)), normal((3, 2)), error="expand: x has shape")
        yield Case("fewer axes", cls((4,)), normal((3, 4)), error="expand: x has shape")


class FlipOp(Op):
    """A copy with the axes `dims` reversed."""

    dims: tuple[int, ...]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        for d in self.dims:
            axis_of("flip", d, len(x.shape))
        return (x,)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        return (xp.flip(x, self.dims).copy(),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        return (xp.flip(dys[0], self.dims),)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.flip(x, self.dims)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case("one", cls((1,)), normal((2, 3)))
        yield Case("two", cls((0, -1)), normal((2, 3, 4)))
        yield Case("out of range", cls((2,)), normal((2, 3)), error="flip: dim is 2")


@public("gpudl", "Tensor")
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements with another shape, sharing memory if possible; an extent of -1 is
    inferred."""
    return apply(ReshapeOp.of(sizes("reshape", shape)), input)  # type: ignore[no-any-return]


@public("Tensor")
def view(self: Tensor, *shape: Any) -> Tensor:
    """Like reshape, but the result must share memory.

    Raises RuntimeError if that is not possible.
    """
    if len(shape) == 1 and not isinstance(shape[0], (int, Sequence)):
        raise TypeError(f"view: expected integers, got {shape[0]!r}; use .to() to change the dtype")
    result = reshape(self, *shape)
    if result._view is None and result.numel() and not isinstance(result.array, MetaArray):
        raise RuntimeError(
            f"view: a tensor of shape {list(self.shape)} with these strides has no view of shape "
            f"{list(result.shape)}; use reshape(), which copies"
        )
    return result


@public("Tensor")
def view_as(self: Tensor, other: Tensor) -> Tensor:
    """view() with the shape of `other`."""
    return view(self, *other.shape)


@public("Tensor")
def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """reshape() to the shape of `other`."""
    return reshape(self, *other.shape)


@public("gpudl", "Tensor")
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge the axes start_dim … end_dim into one."""
    first = axis_of("flatten", start_dim, input.ndim)
    last = axis_of("flatten", end_dim, input.ndim)
    if first > last:
        raise ValueError(f"flatten: start_dim {start_dim} must not come after end_dim {end_dim}")
    shape = input.shape
    joined = math.prod(shape[first : last + 1])
    return reshape(input, (*shape[:first], joined, *shape[last + 1 :]))


@public("gpudl", "Tensor")
def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Split an axis into several; one size may be -1, which is inferred."""
    axis = axis_of("unflatten", dim, input.ndim)
    shape = input.shape
    extents = list(sizes)
    if extents.count(-1) == 1:
        known = -math.prod(extents)
        extents[extents.index(-1)] = shape[axis] // known if known else 0
    return reshape(input, (*shape[:axis], *extents, *shape[axis + 1 :]))


@public("gpudl", "Tensor")
def ravel(input: Tensor) -> Tensor:
    """reshape() to one axis."""
    return reshape(input, (-1,) if input.numel() else (0,))


@public("gpudl", "Tensor")
def permute(input: Tensor, *dims: Any) -> Tensor:
    """The axes in the order `dims`, sharing memory."""
    return apply(PermuteOp.of(sizes("permute", dims)), input)  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Swap two axes, sharing memory."""
    order = list(range(input.ndim))
    if not order:
        return permute(input)
    a, b = axis_of("transpose", dim0, input.ndim), axis_of("transpose", dim1, input.ndim)
    order[a], order[b] = b, a
    return permute(input, order)


@public("gpudl", "Tensor")
def swapaxes(input: Tensor, axis0: int, axis1: int) -> Tensor:
    """Alias of transpose(), NumPy's name."""
    return transpose(input, axis0, axis1)


@public("gpudl", "Tensor")
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; fewer than two axes stay as they are."""
    if input.ndim > 2:
        raise ValueError(f"t: input has {input.ndim} axes, more than 2; use transpose or permute")
    return permute(input, tuple(range(input.ndim))[::-1])


@public("gpudl", "Tensor")
def movedim(input: Tensor, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Move axes to other positions; the rest keep their order."""
    n = input.ndim
    sources = (source,) if isinstance(source, int) else source
    places = (destination,) if isinstance(destination, int) else destination
    start = [axis_of("movedim", d, n) for d in sources]
    end = [axis_of("movedim", d, n) for d in places]
    order = [axis for axis in range(n) if axis not in start]
    for place, axis in sorted(zip(end, start, strict=True)):
        order.insert(place, axis)
    return permute(input, order)


@public("gpudl", "Tensor")
def squeeze(input: Tensor, dim: int | Sequence[int] | None = None) -> Tensor:
    """Remove axes of extent 1: all of them, or those in `dim`."""
    shape = input.shape
    wanted = range(len(shape)) if dim is None else (dim,) if isinstance(dim, int) else dim
    drop = {axis_of("squeeze", d, len(shape)) for d in wanted}
    return reshape(input, tuple(s for i, s in enumerate(shape) if s != 1 or i not in drop))


@public("gpudl", "Tensor")
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """Insert an axis of extent 1 at `dim`."""
    axis = axis_of("unsqueeze", dim, input.ndim + 1)
    return reshape(input, (*input.shape[:axis], 1, *input.shape[axis:]))


@public("Tensor")
def expand(self: Tensor, *shape: Any) -> Tensor:
    """Repeat axes of extent 1 without copying; -1 keeps an extent."""
    return apply(ExpandOp.of(sizes("expand", shape)), self)  # type: ignore[no-any-return]


@public("Tensor")
def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """expand() to the shape of `other`."""
    return expand(self, *other.shape)


@public("gpudl")
def broadcast_to(input: Tensor, size: Sequence[int]) -> Tensor:
    """Alias of expand(), NumPy's name."""
    return expand(input, *size)


@public("gpudl", "Tensor")
def flip(input: Tensor, *dims: Any) -> Tensor:
    """A copy with the axes `dims` reversed, given as a list or one by one."""
    return apply(FlipOp.of(sizes("flip", dims)), input)  # type: ignore[no-any-return]


@public("Tensor")
def repeat(self: Tensor, *repeats: Any) -> Tensor:
    """Repeat the tensor along each axis; surplus repeats add leading axes."""
    times = sizes("repeat", repeats)
    lead = len(times) - self.ndim
    if lead < 0:
        raise ValueError(
            f"repeat: got {len(times)} numbers; a tensor with {self.ndim} axes needs at least "
            f"{self.ndim}"
        )
    shape = (1,) * lead + self.shape
    pairs = [(n, s) for n, s in zip(times, shape, strict=True)]
    spread = expand(
        reshape(self, [v for _, s in pairs for v in (1, s)]), [v for pair in pairs for v in pair]
    )
    return reshape(spread, [n * s for n, s in pairs])


@public("gpudl", "Tensor")
def tile(input: Tensor, *dims: Any) -> Tensor:
    """repeat(), where missing numbers at the front count as 1."""
    times = sizes("tile", dims)
    return repeat(input, (1,) * (input.ndim - len(times)) + times)
