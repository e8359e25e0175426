"""Shared by all pools: the geometry of their windows, in shapes and in NumPy.

x is (N, C, W), (N, C, H, W) or (N, C, D, H, W); windows cover its last axes. `reach` lists the
positions of every window along an axis: equally spaced in sliding windows, consecutive in adaptive
ones. The elements of a window are its taps, numbered in row-major order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Array, Cost, Op, Spec, require, require_float

Ints = tuple[int, ...]
Size = int | tuple[int, ...]
Slices = tuple[Any, ...]
MOST_ELEMENTS = (1 << 31) - 1  # kernels index elements with 32-bit ints
SPATIAL = 3  # spatial axes of the kernels


class Pool(Op):
    """Base of all pools: y[n,c,p…] = f(window p… of x[n,c])."""

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        raise TypeError

    def outputs_along(self, size: int, axis: int) -> int:
        """Number of windows along an axis of this size."""
        raise TypeError

    def window_length(self, size: int, axis: int) -> int:
        """Largest number of taps of a window along an axis."""
        raise TypeError

    def reach(self, size: int, axis: int) -> tuple[Array, Array]:
        """(windows, taps) each: the positions along an axis, and which of them lie inside x."""
        raise TypeError

    def check_window(self, x: Spec) -> None:
        """Raise ValueError for windows that do not fit x."""

    # ---------------------------------------------------------------- shapes

    def window(self, x_shape: Ints) -> Ints:
        return tuple(self.window_length(n, axis) for axis, n in enumerate(x_shape[2:]))

    def taps(self, x_shape: Ints) -> int:
        return math.prod(self.window(x_shape))

    def pooled_spec(self, x: Spec) -> Spec:
        require_float(self, x=x)
        axes = ("N", "C", "D", "H", "W")
        names = ", ".join((*axes[:2], *axes[5 - self.rank :]))
        require(len(x.shape) == self.rank + 2, self, "x", f"is {x}; it must be ({names})")
        require(0 not in x.shape[1:], self, "x", f"is {x}; only the batch may be empty")
        self.check_window(x)
        sizes = (self.outputs_along(n, axis) for axis, n in enumerate(x.shape[2:]))
        y = Spec((*x.shape[:2], *sizes), x.dtype)
        for name, spec in (("x", x), ("y", y)):
            fits = spec.size <= MOST_ELEMENTS
            require(fits, self, name, f"is {spec}; it must have at most 2^31 - 1 elements")
        return y

    def cost(self, x: Spec) -> Cost:
        outputs = self.infer(x)
        moved = sum(s.size * s.dtype.itemsize for s in (x, *outputs))
        return Cost(outputs[0].size * self.taps(x.shape), moved)

    # ---------------------------------------------------------------- windows in NumPy

    def places(self, x_shape: Ints) -> Iterator[tuple[Slices, Array]]:
        """For each tap: its index into x in every window, and whether the window has it."""
        axes = [self.reach(n, axis) for axis, n in enumerate(x_shape[2:])]
        for tap in np.ndindex(*self.window(x_shape)):
            at = [np.clip(a[:, t], 0, n - 1)
                  for (a, _), t, n in zip(axes, tap, x_shape[2:], strict=True)]  # fmt: skip
            real = np.array(True)
            for (_, inside), t in zip(axes, tap, strict=True):
                real = real[..., None] & inside[:, t]
            yield (slice(None), slice(None), *np.ix_(*at)), real

    def add_to_places(self, dx: Array, place: Slices, real: Array, value: Array) -> None:
        """dx[place] += value where `real`; windows may overlap."""
        n, c = np.ix_(range(dx.shape[0]), range(dx.shape[1]))
        spread = (slice(None), slice(None), *(None,) * self.rank)
        np.add.at(dx, (n[spread], c[spread], *place[2:]), np.where(real, value, 0))


class Sliding(Pool):
    """Windows `stride` apart: along each axis, window p reads p*stride - padding + r*dilation for
    all taps r < kernel_size."""

    kernel_size: Ints
    stride: Ints
    padding: Ints
    dilation: Ints
    ceil_mode: bool

    @property
    def rank(self) -> int:
        return len(self.kernel_size)

    def parameters(self) -> dict[str, Any]:
        """Kernels have three spatial axes; missing ones get windows of one tap."""
        fields = super().parameters()
        for name, neutral in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            fields[name] = (neutral,) * (SPATIAL - self.rank) + fields[name]
        return fields

    def extent(self, axis: int) -> int:
        """Elements that a window spans, gaps included."""
        return (self.kernel_size[axis] - 1) * self.dilation[axis] + 1

    def window_length(self, size: int, axis: int) -> int:
        return self.kernel_size[axis]

    def outputs_along(self, size: int, axis: int) -> int:
        """With ceil_mode the last window may extend past the end, but must start inside the input
        or the padding before it."""
        padding, stride = self.padding[axis], self.stride[axis]
        reach = size + 2 * padding - self.extent(axis)
        if reach < 0 and not (self.ceil_mode and reach + stride > 0):
            return 0
        count = (reach + (stride - 1 if self.ceil_mode else 0)) // stride + 1
        return count - 1 if self.ceil_mode and (count - 1) * stride >= size + padding else count

    def reach(self, size: int, axis: int) -> tuple[Array, Array]:
        first = np.arange(self.outputs_along(size, axis)) * self.stride[axis] - self.padding[axis]
        at = first[:, None] + np.arange(self.kernel_size[axis]) * self.dilation[axis]
        return at, (at >= 0) & (at < size)

    def check_window(self, x: Spec) -> None:
        for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            value = getattr(self, name)
            fits = len(value) == self.rank and min(value) >= least
            require(fits, self, name, f"is {value}; it must be at least {least} on each axis")
        half = tuple(size // 2 for size in self.kernel_size)
        fits = all(p <= h for p, h in zip(self.padding, half, strict=True))
        require(
            fits, self, "padding", f"is {self.padding}; it must be at most {half}, half the kernel"
        )
        spans = tuple(map(self.extent, range(self.rank)))
        fits = all(self.outputs_along(n, axis) > 0 for axis, n in enumerate(x.shape[2:]))
        message = f"spans {spans}, larger than x {x} with padding={self.padding}"
        require(fits, self, "kernel_size", message)

    # ---------------------------------------------------------------- fast forms in NumPy

    def frame(self, x_shape: Ints) -> tuple[Ints, Slices]:
        """Shape of x padded as far as its windows reach, and the slices of x in it."""
        sizes, places = [], []
        for axis, size in enumerate(x_shape[2:]):
            padding = self.padding[axis]
            last = (self.outputs_along(size, axis) - 1) * self.stride[axis] + self.extent(axis)
            sizes.append(max(size + padding, last))
            places.append(slice(padding, padding + size))
        return (*x_shape[:2], *sizes), (..., *places)

    def tap_slices(self, x_shape: Ints) -> Iterator[Slices]:
        """For each tap, the slices of the padded x that it reads, one element per window."""
        steps = [
            [
                slice(first, first + (count - 1) * stride + 1, stride)
                for first in range(0, self.extent(axis), self.dilation[axis])
            ]
            for axis, stride in enumerate(self.stride)
            for count in (self.outputs_along(x_shape[2 + axis], axis),)
        ]
        for tap in np.ndindex(*self.kernel_size):
            yield (..., *(step[t] for step, t in zip(steps, tap, strict=True)))

    def framed(self, xp: Any, x: Array, value: float) -> Array:
        """x padded with `value` as far as windows reach; x itself if they stay inside."""
        shape, inside = self.frame(x.shape)
        if shape == x.shape:
            return x
        frame = xp.full(shape, value, x.dtype)
        frame[inside] = x
        return frame

    def tiles(self, x_shape: Ints) -> bool:
        """Whether each element belongs to exactly one window."""
        counts = [self.outputs_along(n, axis) for axis, n in enumerate(x_shape[2:])]
        covered = [n * k for n, k in zip(counts, self.kernel_size, strict=True)]
        return self.stride == self.kernel_size and covered == list(x_shape[2:])

    def empty_gradient(self, x_shape: Ints, dtype: Any) -> Array | None:
        """An array for dx that the taps can write without adding: uninitialised if windows cover x,
        else zero. None if windows overlap, are dilated or extend past x."""
        shape, _ = self.frame(x_shape)
        apart = all(s >= k for s, k in zip(self.stride, self.kernel_size, strict=True))
        if shape != x_shape or max(self.dilation) > 1 or not apart:
            return None
        return (np.empty if self.tiles(x_shape) else np.zeros)(x_shape, dtype)


class Adaptive(Pool):
    """output_size windows that cover x: along an axis, window p reads from floor(p*size/outputs) up
    to but not including ceil((p + 1)*size/outputs)."""

    output_size: Ints

    @property
    def rank(self) -> int:
        return len(self.output_size)

    def outputs_along(self, size: int, axis: int) -> int:
        return self.output_size[axis]

    def window_length(self, size: int, axis: int) -> int:
        outputs = self.output_size[axis]
        return size // outputs + 2 if size % outputs else size // outputs

    def reach(self, size: int, axis: int) -> tuple[Array, Array]:
        p, outputs = np.arange(self.output_size[axis]), self.output_size[axis]
        first, last = p * size // outputs, -(-(p + 1) * size // outputs)
        at = first[:, None] + np.arange(self.window_length(size, axis))
        return at, at < last[:, None]

    def check_window(self, x: Spec) -> None:
        fits = min(self.output_size) >= 1
        require(fits, self, "output_size", f"is {self.output_size}; it must be at least 1")


# -------------------------------------------------------------------- arguments of the functions


def each_axis(function: str, argument: str, value: Size, rank: int) -> Ints:
    """One int per axis, from one for all axes or a tuple."""
    if isinstance(value, int):
        return (value,) * rank
    numbers = tuple(map(int, value))
    if len(numbers) == 1:
        return numbers * rank
    if len(numbers) != rank:
        raise ValueError(f"{function}: {argument} is {value}; it must be an int or {rank} ints")
    return numbers


def sliding_fields(
    function: str, rank: int, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size
) -> tuple[Ints, Ints, Ints, Ints]:
    """Fields of Sliding from PyTorch's arguments."""
    window = each_axis(function, "kernel_size", kernel_size, rank)
    return (
        window,
        window if stride is None or stride == () else each_axis(function, "stride", stride, rank),
        each_axis(function, "padding", padding, rank),
        each_axis(function, "dilation", dilation, rank),
    )


def batched(function: str, input: Tensor, rank: int) -> tuple[Tensor, bool]:
    """The input with a batch axis, and whether that had to be added."""
    if input.ndim not in (rank + 1, rank + 2):
        raise ValueError(
            f"{function}: input has shape {list(input.shape)}; it must have {rank + 2} axes, or "
            f"{rank + 1} without a batch"
        )
    lacking = input.ndim == rank + 1
    return (input.unsqueeze(0) if lacking else input), lacking


def unbatched(tensor: Tensor, lacking: bool) -> Tensor:
    return tensor.squeeze(0) if lacking else tensor
