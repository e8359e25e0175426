"""Max and average pooling over two-dimensional windows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.op import Array, Case, Spec, public, require
from gpudl.ops.pool_base import Pair, Pool2d, image, pair, refused_cases, window_cases
from gpudl.tensor import Tensor, apply


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
