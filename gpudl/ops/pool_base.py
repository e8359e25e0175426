"""What max and average pooling share: the geometry of windows in shapes and NumPy, and cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.op import Array, Case, Cost, Op, Spec, require, require_float

Pair = tuple[int, int]
Slices = tuple[Any, ...]


class Pool2d(Op):
    """Windows over (N, C, H, W): what max and average pooling share.

    Window (p, q) holds x[p*stride_h - padding_h + r*dilation_h, …] for all taps (r, s) of a kernel.
    """

    kernel_size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    ceil_mode: bool

    @property
    def taps(self) -> int:
        return self.kernel_size[0] * self.kernel_size[1]

    def extent(self, axis: int) -> int:
        """From a window's first element to its last."""
        return (self.kernel_size[axis] - 1) * self.dilation[axis] + 1

    def outputs_along(self, size: int, axis: int) -> int:
        """Number of windows along an axis. With ceil_mode the last may hang over the end, but must
        start inside the input or the padding before it."""
        padding, stride = self.padding[axis], self.stride[axis]
        reach = size + 2 * padding - self.extent(axis)
        if reach < 0 and not (self.ceil_mode and reach + stride > 0):
            return 0
        count = (reach + (stride - 1 if self.ceil_mode else 0)) // stride + 1
        return count - 1 if self.ceil_mode and (count - 1) * stride >= size + padding else count

    def pooled_spec(self, x: Spec) -> Spec:
        require_float(self, x=x)
        require(len(x.shape) == 4, self, "x", f"is {x}; it must be (N, C, H, W)")
        require(0 not in x.shape[1:], self, "x", f"is {x}; only the batch may be empty")
        for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            value = getattr(self, name)
            require(min(value) >= least, self, name, f"is {value}; it must be at least {least}")
        half = (self.kernel_size[0] // 2, self.kernel_size[1] // 2)
        fits = self.padding[0] <= half[0] and self.padding[1] <= half[1]
        require(fits, self, "padding", f"is {self.padding}; at most half of the kernel, {half}")
        p, q = (self.outputs_along(x.shape[2 + axis], axis) for axis in (0, 1))
        window = (self.extent(0), self.extent(1))
        require(
            p > 0 and q > 0, self, "kernel_size", f"spans {window}, more than {x} with its padding"
        )
        return Spec((*x.shape[:2], p, q), x.dtype)

    def cost(self, *specs: Any) -> Cost:
        outputs = self.infer(*specs)
        moved = sum(s.size * s.dtype.itemsize for s in (*specs, *outputs))
        return Cost(outputs[0].size * self.taps, moved)

    # ---------------------------------------------------------------- windows in NumPy

    def frame(self, x_shape: tuple[int, ...]) -> tuple[tuple[int, ...], Slices]:
        """Shape of x with all that its windows reach, and where x lies in it."""
        sizes, places = [], []
        for axis in (0, 1):
            size, padding = x_shape[2 + axis], self.padding[axis]
            last = (self.outputs_along(size, axis) - 1) * self.stride[axis] + self.extent(axis)
            sizes.append(max(size + padding, last))
            places.append(slice(padding, padding + size))
        return (*x_shape[:2], *sizes), (..., *places)

    def tap_slices(self, x_shape: tuple[int, ...]) -> Iterator[Slices]:
        """For each tap the elements of the frame that it sees, one a window."""
        steps = [
            [
                slice(first, first + (count - 1) * stride + 1, stride)
                for first in range(0, self.extent(axis), self.dilation[axis])
            ]
            for axis, stride in enumerate(self.stride)
            for count in (self.outputs_along(x_shape[2 + axis], axis),)
        ]
        for rows in steps[0]:
            for columns in steps[1]:
                yield ..., rows, columns

    def framed(self, xp: Any, x: Array, value: float) -> Array:
        """x with `value` round it as far as windows reach; x itself if they stay inside."""
        shape, inside = self.frame(x.shape)
        if shape == x.shape:
            return x
        frame = xp.full(shape, value, x.dtype)
        frame[inside] = x
        return frame

    def empty_gradient(self, x_shape: tuple[int, ...], dtype: Any) -> Array | None:
        """Where windows tile x without overlap: an array that every tap writes once, or a zero
        one if some elements belong to no window. None where they overlap or reach out."""
        shape, _ = self.frame(x_shape)
        if shape != x_shape or self.dilation != (1, 1):
            return None
        if self.stride[0] < self.kernel_size[0] or self.stride[1] < self.kernel_size[1]:
            return None
        counts = [self.outputs_along(x_shape[2 + axis], axis) for axis in (0, 1)]
        covered = [n * k for n, k in zip(counts, self.kernel_size, strict=True)]
        return (np.empty if covered == list(x_shape[2:]) else np.zeros)(x_shape, dtype)


def window_cases() -> Iterator[tuple[str, tuple[int, ...], tuple[Any, ...]]]:
    """(name, shape of x, fields of Pool2d) of cases that suit both kinds."""
    one, none = (1, 1), (0, 0)
    yield "2x2", (2, 6, 8, 6), ((2, 2), (2, 2), none, one, False)
    yield "2x2 four channels", (3, 4, 4, 6), ((2, 2), (2, 2), none, one, False)
    yield "2x2 odd size", (2, 3, 7, 5), ((2, 2), (2, 2), none, one, False)
    yield "gaps between windows", (2, 5, 9, 8), ((2, 1), (3, 3), none, one, False)
    yield "overlap", (2, 8, 7, 9), ((3, 3), (2, 2), (1, 1), one, False)
    yield "overlap, stride 1", (1, 3, 5, 6), ((3, 2), one, none, one, False)
    yield "ceil", (1, 4, 6, 7), ((3, 2), (2, 3), none, one, True)
    yield "ceil and padding", (2, 2, 5, 5), ((2, 2), (2, 2), (1, 1), one, True)
    yield "window larger than x, ceil", (1, 1, 3, 3), ((4, 4), (3, 3), none, one, True)
    yield "whole image", (3, 7, 4, 5), ((4, 5), (4, 5), none, one, False)
    yield "many channels", (1, 260, 2, 3), ((2, 2), one, none, one, False)
    yield "1x1", (1, 1, 1, 1), (one, one, none, one, False)
    yield "empty batch", (0, 3, 4, 4), ((2, 2), (2, 2), none, one, False)


def refused_cases(cls: Any, more: tuple[Any, ...]) -> Iterator[Case]:
    """Inputs that are refused; `more`: the fields beyond Pool2d's."""
    two, none, one = (2, 2), (0, 0), (1, 1)
    fits = cls.of(two, two, none, one, False, *more)
    large = cls.of((5, 5), two, none, one, False, *more)
    yield Case("window too large", large, lambda rng: (image(rng, (1, 1, 4, 4)),), error="spans")
    padded = cls.of(two, two, two, one, False, *more)
    yield Case("much padding", padded, lambda rng: (image(rng, (1, 1, 4, 4)),), error="padding is")
    still = cls.of(two, none, none, one, False, *more)
    yield Case("stride 0", still, lambda rng: (image(rng, (1, 1, 4, 4)),), error="stride is")
    yield Case("three axes", fits, lambda rng: (image(rng, (1, 4, 4)),), error="x is float32")
    yield Case("no channels", fits, lambda rng: (image(rng, (1, 0, 4, 4)),), error="only the batch")
    yield Case("integers", fits, lambda rng: (np.ones((1, 1, 4, 4), int),), error="x is int64")


def image(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def pair(value: int | tuple[int, int]) -> Pair:
    if isinstance(value, int):
        return (value, value)
    first, second = value
    return (int(first), int(second))
