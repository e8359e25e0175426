"""Max and average pooling over two-dimensional windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.op import Array, Case, Cost, Op, Spec, public, require, require_float
from gpudl.tensor import Tensor, apply

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


class MaxPool2dOp(Pool2d):
    """y[n,c,p,q] = the largest of window (p, q). The first of equals wins; a NaN beats all, the
    last one of several, as in PyTorch; padding never wins.

    argmax: the number r*S + s of the winning tap, in one byte where the window has at most 256.
    """

    outputs = ("y", "argmax")
    saves = ("argmax",)
    kernels = ("direct", "wide")
    cpu = ("strided",)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        y = self.pooled_spec(x)
        return y, Spec(y.shape, self.index_dtype)

    @property
    def index_dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.taps <= 256 else np.int32)

    def supports(self, algorithm: str, *specs: Any) -> bool:
        return (algorithm == "direct") == (self.taps <= 256)

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        frame = self.framed(xp, x, -np.inf)
        inside = self.framed(xp, xp.ones((1, 1, *x.shape[2:]), bool), False)
        taps = self.tap_slices(x.shape)
        first = next(taps)
        y, seen = frame[first], inside[first]
        argmax = xp.zeros(y.shape, self.index_dtype)
        for number, tap in enumerate(taps, 1):
            value, real = frame[tap], inside[tap]
            better = real & ((value > y) | xp.isnan(value) | ~seen)
            y = xp.where(better, value, y)
            argmax = xp.where(better, self.index_dtype.type(number), argmax)
            seen = seen | real
        return y.copy(), argmax

    def forward_strided(self, xp: Any, x: Array) -> tuple[Array, ...]:
        """The maximum of contiguous copies of the taps. Tap numbers rise, so that the winner's is a
        maximum too: of number * (did it beat all before?)."""
        if self.frame(x.shape)[0] != x.shape:
            return self.forward(xp, x)
        taps = self.tap_slices(x.shape)
        y = x[next(taps)].copy(order="C")
        argmax = np.zeros(y.shape, self.index_dtype)
        for number, tap in enumerate(taps, 1):
            value = np.ascontiguousarray(x[tap])
            won = np.greater(value, y).astype(self.index_dtype, copy=False)
            won *= self.index_dtype.type(number)
            np.maximum(argmax, won, out=argmax)
            np.maximum(y, value, out=y)
        return (y, argmax) if not np.isnan(y).any() else self.forward(xp, x)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        x_shape = saved.specs[0].shape
        shape, inside = self.frame(x_shape)
        dx = xp.zeros(shape, dys[0].dtype)
        for number, tap in enumerate(self.tap_slices(x_shape)):
            dx[tap] += xp.where(saved.argmax == number, dys[0], 0)
        return (dx[inside],)

    def backward_strided(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        """Without overlap each tap writes its elements once: dy with the bits of losers cleared."""
        dy, x_shape = dys[0], saved.specs[0].shape
        dx = self.empty_gradient(x_shape, dy.dtype)
        if dx is None:
            return self.backward(xp, dys, saved, needs)
        integer = np.dtype(f"i{dy.itemsize}")
        bits, target = dy.view(integer), dx.view(integer)
        for number, tap in enumerate(self.tap_slices(x_shape)):
            mask = (saved.argmax != number).astype(integer)
            mask -= 1
            np.bitwise_and(bits, mask, out=target[tap])
        return (dx,)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.nn.functional.max_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        )

    @classmethod
    def cases(cls) -> Iterator[Case]:
        one = (1, 1)
        for name, shape, fields in window_cases():
            yield Case(name, cls.of(*fields), lambda rng, s=shape: (image(rng, s),))
        dilated = cls.of((2, 3), (2, 1), (1, 1), (2, 2), False)
        yield Case("dilated", dilated, lambda rng: (image(rng, (2, 3, 9, 8)),))
        wide = cls.of((17, 18), (1, 2), (8, 0), one, False)
        yield Case("window of 306", wide, lambda rng: (image(rng, (1, 4, 18, 21)),))
        two = cls.of((2, 2), (2, 2), (0, 0), one, False)
        inf, nan = np.inf, np.nan
        rows = [[1, 1, -inf, -inf, nan, 9], [1, 0, -inf, -inf, nan, inf]]
        x = np.array([[rows]], np.float32)
        golden = (
            np.array([[[[1, -inf, nan]]]], np.float32),
            np.array([[[[0, 0, 2]]]], np.uint8),
        )
        yield Case("ties and special values", two, lambda rng: (x,), golden=golden)
        padded = cls.of((3, 3), (2, 2), (1, 1), one, False)
        low = np.full((1, 1, 3, 3), -inf, np.float32)
        golden = np.full((1, 1, 2, 2), -inf, np.float32), np.array([[[[4, 3], [1, 0]]]], np.uint8)
        yield Case("padding never wins", padded, lambda rng: (low,), golden=golden)
        yield from refused_cases(cls, ())


class AvgPool2dOp(Pool2d):
    """y[n,c,p,q] = sum of window (p, q), padding being zero, over its divisor: divisor_override if
    that is not 0; else the window's size inside the padded input or, unless count_include_pad,
    inside the input."""

    kernels = ("direct",)
    cpu = ("strided",)
    count_include_pad: bool
    divisor_override: int

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require(self.dilation == (1, 1), self, "dilation", f"is {self.dilation}; it must be 1")
        return (self.pooled_spec(x),)

    def reduction(self, *specs: Any) -> int:
        return self.taps

    def divisor(self, xp: Any, x_shape: tuple[int, ...], dtype: Any) -> Any:
        """By window, (P, Q)."""
        if self.divisor_override:
            return self.divisor_override
        lengths = []
        for axis in (0, 1):
            size, padding = x_shape[2 + axis], self.padding[axis]
            first = np.arange(self.outputs_along(size, axis)) * self.stride[axis] - padding
            margin = padding if self.count_include_pad else 0
            last = np.minimum(first + self.kernel_size[axis], size + margin)
            lengths.append(last - np.maximum(first, -margin))
        return xp.asarray(np.outer(*lengths).astype(dtype))

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        frame = self.framed(xp, x, 0)
        total = sum(frame[tap] for tap in self.tap_slices(x.shape))
        return (total / self.divisor(xp, x.shape, x.dtype),)

    def forward_strided(self, xp: Any, x: Array) -> tuple[Array, ...]:
        frame = self.framed(xp, x, 0)
        taps = self.tap_slices(x.shape)
        y = frame[next(taps)].copy(order="C")
        for tap in taps:
            y += frame[tap]
        y /= self.divisor(xp, x.shape, x.dtype) if frame is not x else self.full_divisor
        return (y,)

    @property
    def full_divisor(self) -> int:
        return self.divisor_override or self.taps

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        x_shape, dtype = saved.specs[0].shape, dys[0].dtype
        shape, inside = self.frame(x_shape)
        dx = xp.zeros(shape, dtype)
        share = dys[0] / self.divisor(xp, x_shape, dtype)
        for tap in self.tap_slices(x_shape):
            dx[tap] += share
        return (dx[inside],)

    def backward_strided(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        x_shape = saved.specs[0].shape
        dx = self.empty_gradient(x_shape, dys[0].dtype)
        if dx is None:
            return self.backward(xp, dys, saved, needs)
        share = dys[0] / self.full_divisor
        for tap in self.tap_slices(x_shape):
            dx[tap] = share
        return (dx,)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.nn.functional.avg_pool2d(
            x, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override or None,
        )  # fmt: skip

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for name, shape, fields in window_cases():
            yield Case(name, cls.of(*fields, True, 0), lambda rng, s=shape: (image(rng, s),))
        window = ((3, 2), (2, 1), (1, 1), (1, 1), True)
        shape = (2, 3, 6, 5)
        inside = cls.of(*window, False, 0)
        yield Case("without padding's count", inside, lambda rng: (image(rng, shape),))
        yield Case("divisor 5", cls.of(*window, False, 5), lambda rng: (image(rng, shape),))
        x = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
        padded = ((2, 2), (2, 2), (1, 1), (1, 1), False)
        golden = (np.array([[[[0.25, 1.25], [2.75, 7]]]], np.float32),)
        yield Case("by hand", cls.of(*padded, True, 0), lambda rng: (x,), golden=golden)
        golden = (np.array([[[[1, 2.5], [5.5, 7]]]], np.float32),)
        yield Case("by hand, inside", cls.of(*padded, False, 0), lambda rng: (x,), golden=golden)
        yield from refused_cases(cls, (True, 0))


class MaxPoolIndicesOp(Pool2d):
    """PyTorch's indices of max pooling, flat in H*W, from the winning taps' numbers."""

    inputs = ("argmax",)
    outputs = ("indices",)
    backward = None  # type: ignore[assignment]
    width: int

    def infer(self, argmax: Spec) -> tuple[Spec, ...]:
        return (Spec(argmax.shape, np.dtype(np.int64)),)

    def forward(self, xp: Any, argmax: Array) -> tuple[Array, ...]:
        tap = argmax.astype(np.int64)
        p = xp.arange(argmax.shape[2], dtype=np.int64)[:, None]
        q = xp.arange(argmax.shape[3], dtype=np.int64)
        r, s = tap // self.kernel_size[1], tap % self.kernel_size[1]
        h = p * self.stride[0] - self.padding[0] + r * self.dilation[0]
        w = q * self.stride[1] - self.padding[1] + s * self.dilation[1]
        return (h * self.width + w,)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        op = cls.of((2, 3), (2, 3), (1, 0), (1, 1), False, 6)
        taps = np.array([[[[3, 5], [0, 4]]]], np.uint8)
        yield Case("by hand", op, lambda rng: (taps,), golden=(np.array([[[[0, 5], [6, 16]]]]),))


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


@public("functional")
def max_pool2d(
    input: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window.

    input: (N, C, H, W) -> (N, C, P, Q), P = (H + 2*padding - dilation*(R-1) - 1)//stride + 1 with
    kernel_size (R, S), rounded up with ceil_mode; stride defaults to kernel_size. Padding never
    wins, the first of equals does, NaN passes. return_indices: also the winners' places in H*W.
    Raises ValueError for a window larger than the padded input or padding over half a kernel.
    """
    window = pair(kernel_size)
    fields = (
        window, window if stride is None else pair(stride), pair(padding), pair(dilation), ceil_mode
    )  # fmt: skip
    y, argmax = apply(MaxPool2dOp.of(*fields), input)
    if not return_indices:
        return y
    return y, apply(MaxPoolIndicesOp.of(*fields, input.shape[3]), argmax)


@public("functional")
def avg_pool2d(
    input: Tensor,
    kernel_size: int | Pair,
    stride: int | Pair | None = None,
    padding: int | Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window.

    input: (N, C, H, W) -> (N, C, P, Q) as in max_pool2d. Padding counts as zeros, or with
    count_include_pad=False not at all; divisor_override replaces the number to divide by.
    Raises ValueError for a window larger than the padded input, padding over half a kernel, or
    divisor_override = 0.
    """
    window = pair(kernel_size)
    if divisor_override == 0:
        raise ValueError("avg_pool2d: divisor_override is 0; pass None to divide by the count")
    op = AvgPool2dOp.of(
        window, window if stride is None else pair(stride), pair(padding), (1, 1), ceil_mode,
        count_include_pad, divisor_override or 0,
    )  # fmt: skip
    return apply(op, input)  # type: ignore[no-any-return]
