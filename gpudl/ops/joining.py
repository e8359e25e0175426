"""Putting tensors together and taking them apart: cat, stack, split, chunk, unbind, pad, roll."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gpudl import dtypes
from gpudl.op import Case, Op, Spec, public, require
from gpudl.ops.elementwise_base import Number, fixed, normal
from gpudl.ops.shape import axis_of
from gpudl.tensor import Tensor, apply


class CatOp(Op):
    """y = the inputs one after the other along `dim`. As many inputs as `count` says."""

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
            message = f"has shape {list(x.shape)}, x0 has {list(first.shape)}"
            require(fits, self, f"x{i}", f"{message}; they may differ along axis {dim} only")
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
    """Views of x, one after the other along `dim`, with the given extents."""

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
            f"has shape {list(x.shape)}; parts of {list(self.extents)} must add up to axis {dim}"
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


class PadOp(Op):
    """y = x with a border. before, after: elements added to each axis (negative ones crop). mode:
    constant (filled with `value`), reflect, replicate or circular."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    mode: str
    value: float

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require(
            self.mode in MODES, self, "mode", f"is {self.mode!r}; use one of {', '.join(MODES)}"
        )
        fits = len(self.before) == len(x.shape)
        require(fits, self, "pad", f"has {len(self.before)} pairs for x {list(x.shape)}")
        shape = []
        for b, s, a in zip(self.before, x.shape, self.after, strict=True):
            require(
                b + s + a >= 0, self, "pad", f"({b}, {a}) crops more than x {list(x.shape)} has"
            )
            if self.mode != "constant" and (b or a):
                most = {"reflect": s - 1, "circular": s}.get(self.mode, b + a if s else -1)
                message = (
                    f"({b}, {a}) is more than mode {self.mode} can take from x {list(x.shape)}"
                )
                require(0 <= b <= most and 0 <= a <= most, self, "pad", message)
            shape.append(b + s + a)
        return (Spec(tuple(shape), x.dtype),)

    def source(self, xp: Any, axis: int, extent: int) -> Any:
        """Where along an axis each element of y comes from."""
        i = xp.arange(-self.before[axis], extent + self.after[axis])
        if self.mode == "replicate":
            return xp.clip(i, 0, extent - 1)
        if self.mode == "circular":
            return i % extent
        i = xp.abs(i)
        return xp.where(i >= extent, 2 * (extent - 1) - i, i)

    def overlap(self, shape: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """The part of y that is x's, and the part of x that is in y."""
        pairs = list(zip(self.before, self.after, shape, strict=True))
        of_y = tuple(slice(max(b, 0), b + s + a - max(a, 0)) for b, a, s in pairs)
        of_x = tuple(slice(max(-b, 0), s - max(-a, 0)) for b, a, s in pairs)
        return of_y, of_x

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        if self.mode == "constant":
            of_y, of_x = self.overlap(x.shape)
            extents = zip(self.before, x.shape, self.after, strict=True)
            y = xp.full([b + s + a for b, s, a in extents], self.value, x.dtype)
            y[of_y] = x[of_x]
            return (y,)
        for axis in self.axes():
            x = xp.take(x, self.source(xp, axis, x.shape[axis]), axis=axis)
        return (x.copy() if not self.axes() else x,)

    def axes(self) -> list[int]:
        return [i for i, (b, a) in enumerate(zip(self.before, self.after, strict=True)) if b or a]

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dx, shape = dys[0], saved.specs[0].shape
        if self.mode == "constant":
            of_y, of_x = self.overlap(shape)
            result = xp.zeros(shape, dx.dtype)
            result[of_x] = dx[of_y]
            return (result,)
        for axis in self.axes():
            dx = self._fold(xp, dx, axis, shape[axis])
        return (dx,)

    def _fold(self, xp: Any, dy: Any, axis: int, extent: int) -> Any:
        """Add the border's gradients to the elements they came from."""
        dy = xp.moveaxis(dy, axis, 0)
        b, a = self.before[axis], self.after[axis]
        dx = dy[b : b + extent].copy()
        if self.mode == "circular":
            if b:
                dx[extent - b :] += dy[:b]
            dx[:a] += dy[b + extent :]
        elif self.mode == "replicate":
            dx[0] += dy[:b].sum(axis=0)
            dx[-1] += dy[b + extent :].sum(axis=0)
        else:
            dx[1 : b + 1] += dy[:b][::-1]
            dx[extent - 1 - a : extent - 1] += dy[b + extent :][::-1]
        return xp.moveaxis(dx, 0, axis)

    def reduction(self, x: Spec) -> int:
        return 1 + max((*self.before, *self.after, 0))

    def twin(self, torch: Any, x: Any) -> Any:
        pairs = [p for b, a in zip(self.before, self.after, strict=True) for p in (a, b)][::-1]
        if self.mode == "constant":
            return torch.nn.functional.pad(x, pairs, self.mode, self.value)
        return torch.nn.functional.pad(x, pairs[: 2 * (x.ndim - 2)], self.mode)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        x = normal((2, 3, 4, 5))
        for name, before, after in [
            ("border", (0, 0, 1, 2), (0, 0, 3, 0)), ("crop", (0, -1, 0, 1), (0, 0, -2, -1)),
            ("nothing", (0, 0, 0, 0), (0, 0, 0, 0)),
        ]:  # fmt: skip
            yield Case(f"constant {name}", cls(before, after, "constant", 0.5), x)
        for mode in MODES[1:]:
            yield Case(mode, cls((0, 0, 1, 2), (0, 0, 3, 0), mode, 0.0), x)
            yield Case(f"{mode} columns", cls((0, 0, 2), (0, 0, 1), mode, 0.0), normal((2, 3, 4)))
        numbers = fixed([1.0, 2.0, 3.0])
        golden = {"reflect": [3, 2, 1, 2, 3, 2], "circular": [2, 3, 1, 2, 3, 1]}
        for mode, y in golden.items():
            want = (np.array([[y]], np.float32),)
            made = fixed([[[1.0, 2.0, 3.0]]])
            yield Case(f"{mode} numbers", cls((0, 0, 2), (0, 0, 1), mode, 0.0), made, golden=want)
        yield Case("mode", cls((0,), (1,), "other", 0.0), numbers, error="pad: mode is 'other'")
        yield Case("too much", cls((3,), (0,), "reflect", 0.0), numbers, error=r"pad: pad \(3, 0\)")
        yield Case("crops all", cls((-4,), (0,), "constant", 0.0), numbers, error="pad: .* crops")


MODES = ("constant", "reflect", "replicate", "circular")


@public("gpudl", names=("cat", "concat", "concatenate"))
def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors one after the other along an axis; elsewhere their extents agree."""
    if not tensors:
        raise ValueError("cat: got no tensors; it needs at least one")
    return apply(CatOp.of(dim, len(tensors)), *tensors)  # type: ignore[no-any-return]


@public("gpudl")
def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new axis."""
    shapes = {tuple(x.shape) for x in tensors}
    if len(shapes) != 1:
        raise ValueError(f"stack: shapes are {sorted(shapes)}; all tensors must have one shape")
    axis = axis_of("stack", dim, tensors[0].ndim + 1)
    return cat([x.unsqueeze(axis) for x in tensors], axis)


@public("gpudl", "Tensor")
def split(
    tensor: Tensor, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Tensor, ...]:
    """Views along an axis: of the given extents, or of one extent, the last perhaps smaller."""
    axis = axis_of("split", dim, tensor.ndim)
    if isinstance(split_size_or_sections, int):
        size, extent = split_size_or_sections, tensor.shape[axis]
        if size <= 0:
            raise ValueError(f"split: size is {size}; it must be positive")
        starts = range(0, max(extent, 1), size)
        extents = tuple(min(size, extent - start) for start in starts)
    else:
        extents = tuple(split_size_or_sections)
    found = apply(SplitOp.of(extents, axis), tensor)
    return found if isinstance(found, tuple) else (found,)


@public("gpudl", "Tensor")
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` views along an axis, of equal extent but for the last."""
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
def roll(input: Tensor, shifts: int, dims: int) -> Tensor:
    """Shift along an axis; what leaves at the end enters at the front."""
    axis = axis_of("roll", dims, input.ndim)
    extent = input.shape[axis]
    step = shifts % extent if extent else 0
    if not step:
        return input.clone()
    front, back = split(input, (extent - step, step), axis)
    return cat((back, front), axis)


@public("functional")
def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: Number | None = None
) -> Tensor:
    """A border round the last axes. pad: (before, after) of the last axis, then of the one before
    it, and so on. mode: constant (filled with `value`, 0), reflect, replicate or circular; negative
    numbers crop."""
    if len(pad) % 2 or len(pad) // 2 > input.ndim:
        raise ValueError(
            f"pad: pad has {len(pad)} numbers; it needs two for each of at most {input.ndim} axes"
        )
    missing = (0,) * (input.ndim - len(pad) // 2)
    before, after = missing + tuple(pad[-2::-2]), missing + tuple(pad[::-2])
    return apply(PadOp.of(before, after, mode, value or 0), input)  # type: ignore[no-any-return]
