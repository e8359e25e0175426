"""Max pooling: over sliding and adaptive windows, in one to three dimensions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.core.launcher import Launcher
from gpudl.core.op import Array, Case, Op, Spec
from gpudl.ops.pool.base import Adaptive, Ints, Pool, Sliding
from gpudl.ops.pool.cases import adaptive_cases, drawn, refused_cases, window_cases

BYTE = 256  # numbers that one byte can hold


class MaxPool(Pool):
    """y = maximum of each window. The first of equal elements wins; NaN beats everything (the last
    of several, as in PyTorch); padding never wins.

    argmax: the number of the winning tap, as uint8 for windows of at most 256 taps, else int32.
    """

    outputs = ("y", "argmax")
    saves = ("argmax",)
    kernels = ("direct", "wide")

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        y = self.pooled_spec(x)
        return y, Spec(y.shape, self.index_dtype(x.shape))

    def index_dtype(self, x_shape: Ints) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self.taps(x_shape) <= BYTE else np.int32)

    def supports(self, kernel: Launcher, *specs: Any) -> bool:
        return (kernel.algorithm == "direct") == (self.taps(specs[0].shape) <= BYTE)

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        y_shape = self.infer(Spec(x.shape, x.dtype))[0].shape
        index = self.index_dtype(x.shape)
        y, argmax = xp.full(y_shape, -np.inf, x.dtype), xp.zeros(y_shape, index)
        seen = np.array(False)
        for number, (place, real) in enumerate(self.places(x.shape)):
            value = x[place]
            better = real & ((value > y) | xp.isnan(value) | ~seen)
            y = xp.where(better, value, y)
            argmax = xp.where(better, index.type(number), argmax)
            seen = seen | real
        return y, argmax

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        dx = np.zeros(saved.specs[0].shape, dys[0].dtype)
        for number, (place, real) in enumerate(self.places(dx.shape)):
            self.add_to_places(dx, place, real & (saved.argmax == number), dys[0])
        return (dx,)


class MaxPoolOp(Sliding, MaxPool):
    """Max pooling over sliding windows; see MaxPool and Sliding."""

    cpu = ("strided",)

    def forward_strided(self, xp: Any, x: Array) -> tuple[Array, ...]:
        """Running maximum over contiguous copies of the taps. Tap numbers ascend, so argmax is a
        running maximum too: of number * (tap beats all earlier ones)."""
        frame = self.framed(xp, x, -np.inf)
        taps = self.tap_slices(x.shape)
        y = frame[next(taps)].copy(order="C")
        index = self.index_dtype(x.shape)
        argmax = np.zeros(y.shape, index)
        for number, tap in enumerate(taps, 1):
            value = np.ascontiguousarray(frame[tap])
            won = np.greater(value, y).astype(index, copy=False)
            won *= index.type(number)
            np.maximum(argmax, won, out=argmax)
            np.maximum(y, value, out=y)
        # The frame is -inf too; an element that is -inf must still beat it.
        special = np.isnan(y).any() or (frame is not x and np.isneginf(y).any())
        return self.forward(xp, x) if special else (y, argmax)

    def backward_strided(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        """Without overlap each element is written once: dy where its tap won, else 0, by masking
        the bits of dy."""
        x_shape, dy = saved.specs[0].shape, dys[0]
        dx = self.empty_gradient(x_shape, dy.dtype)
        if dx is None:
            return self.overlapping_gradient(dy, saved.argmax, x_shape)
        integer = np.dtype(f"i{dy.itemsize}")
        bits, target = dy.view(integer), dx.view(integer)
        for number, tap in enumerate(self.tap_slices(x_shape)):
            mask = (saved.argmax != number).astype(integer)
            mask -= 1
            np.bitwise_and(bits, mask, out=target[tap])
        return (dx,)

    def overlapping_gradient(self, dy: Array, argmax: Array, x_shape: Ints) -> tuple[Array, ...]:
        """Add each dy at its winner: the window's first element plus the winning tap's offset."""
        shape, inside = self.frame(x_shape)
        number = np.arange(math.prod(shape[1:])).reshape(shape[1:])
        taps = [number[tap] for tap in self.tap_slices(x_shape)]
        offsets = np.array([tap.flat[0] for tap in taps])
        dx = np.empty(x_shape, dy.dtype)
        for n in range(len(dx)):
            frame = np.zeros(shape[1:], dy.dtype)
            winners = taps[0] + offsets[argmax[n]]
            np.add.at(frame.reshape(-1), winners.reshape(-1), dy[n].reshape(-1))
            dx[n] = frame[inside]
        return (dx,)

    def twin(self, torch: Any, x: Any) -> Any:
        pool = getattr(torch.nn.functional, f"max_pool{self.rank}d")
        return pool(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        one, two, none = (1, 1), (2, 2), (0, 0)
        for name, shape, fields in window_cases():
            yield Case(name, cls.of(*fields), drawn(*shape))
        dilated = cls.of((2, 3), (2, 1), one, two, False)
        yield Case("dilated", dilated, drawn(2, 3, 9, 8))
        wide = cls.of((17, 18), (1, 2), (8, 0), one, False)
        yield Case("window of 306", wide, drawn(1, 4, 18, 21))
        inf, nan = np.inf, np.nan
        rows = [[1, 1, -inf, -inf, nan, 9], [1, 0, -inf, -inf, nan, inf]]
        x = np.array([[rows]], np.float32)
        golden = (
            np.array([[[[1, -inf, nan]]]], np.float32),
            np.array([[[[0, 0, 2]]]], np.uint8),
        )
        tiled = cls.of(two, two, none, one, False)
        yield Case("ties and special values", tiled, lambda rng: (x,), golden=golden)
        padded = cls.of((3, 3), two, one, one, False)
        low = np.full((1, 1, 3, 3), -inf, np.float32)
        golden = np.full((1, 1, 2, 2), -inf, np.float32), np.array([[[[4, 3], [1, 0]]]], np.uint8)
        yield Case("padding never wins", padded, lambda rng: (low,), golden=golden)
        yield from refused_cases(cls, ())


class AdaptiveMaxPoolOp(Adaptive, MaxPool):
    """Max pooling over adaptive windows; see MaxPool and Adaptive."""

    def twin(self, torch: Any, x: Any) -> Any:
        return getattr(torch.nn.functional, f"adaptive_max_pool{self.rank}d")(x, self.output_size)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for name, shape, size in adaptive_cases():
            yield Case(name, cls.of(size), drawn(*shape))
        yield Case("window of 306", cls.of((1, 1)), drawn(1, 3, 17, 18))
        x = np.array([[[3, 1, np.nan, 4, 5]]], np.float32)  # windows 0 to 2 and 2 to 4
        golden = np.full((1, 1, 2), np.nan, np.float32), np.array([[[2, 0]]], np.uint8)
        yield Case("by hand", cls.of((2,)), lambda rng: (x,), golden=golden)
        yield Case("no output", cls.of((0,)), drawn(1, 2, 3), error="output_size is")


class MaxPoolIndicesOp(Op):
    """PyTorch's indices of max pooling, flat in the spatial axes, from the winning taps' numbers.

    pool: the operator that computed argmax; x_size: the spatial extents of its x.
    """

    inputs = ("argmax",)
    outputs = ("indices",)
    backward = None  # type: ignore[assignment]

    pool: Any
    x_size: Ints

    def infer(self, argmax: Spec) -> tuple[Spec, ...]:
        return (Spec(argmax.shape, np.dtype(np.int64)),)

    def forward(self, xp: Any, argmax: Array) -> tuple[Array, ...]:
        left = argmax.astype(np.int64)
        flat, plane = xp.zeros(argmax.shape, np.int64), 1
        for axis, size in reversed(list(enumerate(self.x_size))):
            positions, _ = self.pool.reach(size, axis)
            window = xp.arange(len(positions)).reshape(-1, *(1,) * (len(self.x_size) - axis - 1))
            flat += plane * xp.asarray(positions)[window, left % positions.shape[1]]
            left //= positions.shape[1]
            plane *= size
        return (flat,)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        sliding = MaxPoolOp.of((2, 3), (2, 3), (1, 0), (1, 1), False)
        taps = np.array([[[[3, 5], [0, 4]]]], np.uint8)
        golden = (np.array([[[[0, 5], [6, 16]]]]),)
        yield Case("by hand", cls.of(sliding, (3, 6)), lambda rng: (taps,), golden=golden)
        adaptive = AdaptiveMaxPoolOp.of((2,))
        last = np.array([[[2, 1]]], np.uint8)
        golden = (np.array([[[2, 3]]]),)
        yield Case("adaptive", cls.of(adaptive, (5,)), lambda rng: (last,), golden=golden)
