"""Average and power-average (Lp) pooling, in one to three dimensions."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

import numpy as np

from gpudl.core.op import Array, Case, Spec, require
from gpudl.ops.pool.base import Adaptive, Ints, Pool, Sliding
from gpudl.ops.pool.cases import adaptive_cases, drawn, refused_cases, window_cases

MANY_TAPS = 16  # from this many taps on, NumPy sums tiles faster than slices


def outer(vectors: list[Array], dtype: Any) -> Array:
    """Outer product of all vectors."""
    return reduce(np.multiply.outer, vectors).astype(dtype)


class AveragePool(Pool):
    """y = sum of each window's elements / its divisor; padding counts as zeros."""

    kernels = ("direct",)

    def divisor(self, xp: Any, x_shape: Ints, dtype: Any) -> Array:
        """Number of elements of each window."""
        axes = (self.reach(n, axis)[1] for axis, n in enumerate(x_shape[2:]))
        return xp.asarray(outer([inside.sum(axis=1) for inside in axes], dtype))

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (self.pooled_spec(x),)

    def reduction(self, *specs: Any) -> int:
        return self.taps(specs[0].shape)

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        total = sum(np.where(real, x[place], 0) for place, real in self.places(x.shape))
        return (total / self.divisor(xp, x.shape, x.dtype),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        dx = np.zeros(saved.specs[0].shape, dys[0].dtype)
        share = dys[0] / self.divisor(xp, dx.shape, dx.dtype)
        for place, real in self.places(dx.shape):
            self.add_to_places(dx, place, real, share)
        return (dx,)


class SlidingAverage(Sliding, AveragePool):
    """Shared by average and Lp pooling: sums over windows without dilation."""

    def check_window(self, x: Spec) -> None:
        super().check_window(x)
        fits = max(self.dilation) == 1
        require(fits, self, "dilation", f"is {self.dilation}; it must be 1")

    def window_sizes(self, x_shape: Ints, count_padding: bool) -> list[Array]:
        """Per axis and window: the number of elements inside x, or inside x and its padding."""
        lengths = []
        for axis, size in enumerate(x_shape[2:]):
            padding = self.padding[axis]
            first = np.arange(self.outputs_along(size, axis)) * self.stride[axis] - padding
            margin = padding if count_padding else 0
            last = np.minimum(first + self.kernel_size[axis], size + margin)
            lengths.append(last - np.maximum(first, -margin))
        return lengths

    def window_sums(self, x: Array) -> Array:
        """Sum of each window: tap by tap over strided slices, or at once over large tiles."""
        if self.taps(x.shape) >= MANY_TAPS and self.tiles(x.shape):
            sizes = zip(x.shape[2:], self.kernel_size, strict=True)
            split = [part for n, k in sizes for part in (n // k, k)]
            axes = tuple(range(3, 3 + 2 * self.rank, 2))
            return x.reshape(*x.shape[:2], *split).sum(axis=axes)
        frame = self.framed(np, x, 0)
        taps = self.tap_slices(x.shape)
        total = frame[next(taps)].copy(order="C")
        for tap in taps:
            total += frame[tap]
        return total

    def spread(self, share: Array, x_shape: Ints) -> Array:
        """For each element of x, the sum of `share` over its windows."""
        dx = self.empty_gradient(x_shape, share.dtype)
        if dx is not None:
            for tap in self.tap_slices(x_shape):
                dx[tap] = share
            return dx
        shape, inside = self.frame(x_shape)
        dx = np.zeros(shape, share.dtype)
        for tap in self.tap_slices(x_shape):
            dx[tap] += share
        return dx[inside]


class AvgPoolOp(SlidingAverage):
    """Average pooling. The divisor is divisor_override if that is not 0, else the number of the
    window's elements inside the padded input (count_include_pad) or inside the input."""

    cpu = ("strided",)
    count_include_pad: bool
    divisor_override: int

    def divisor(self, xp: Any, x_shape: Ints, dtype: Any) -> Any:
        if self.divisor_override:
            return self.divisor_override
        return outer(self.window_sizes(x_shape, self.count_include_pad), dtype)

    def strided_divisor(self, x_shape: Ints, dtype: Any) -> Any:
        """A single number if all windows lie inside x."""
        if self.frame(x_shape)[0] != x_shape:
            return self.divisor(np, x_shape, dtype)
        return self.divisor_override or self.taps(x_shape)

    def forward_strided(self, xp: Any, x: Array) -> tuple[Array, ...]:
        y = self.window_sums(x)
        y /= self.strided_divisor(x.shape, x.dtype)
        return (y,)

    def backward_strided(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        x_shape = saved.specs[0].shape
        return (self.spread(dys[0] / self.strided_divisor(x_shape, dys[0].dtype), x_shape),)

    def twin(self, torch: Any, x: Any) -> Any:
        pool = getattr(torch.nn.functional, f"avg_pool{self.rank}d")
        window = (x, self.kernel_size, self.stride, self.padding, self.ceil_mode)
        if self.rank == 1:
            return pool(*window, self.count_include_pad)
        return pool(*window, self.count_include_pad, self.divisor_override or None)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for name, shape, fields in window_cases():
            yield Case(name, cls.of(*fields, True, 0), drawn(*shape))
        window = ((3, 2), (2, 1), (1, 1), (1, 1), True)
        yield Case("without padding's count", cls.of(*window, False, 0), drawn(2, 3, 6, 5))
        yield Case("divisor 5", cls.of(*window, False, 5), drawn(2, 3, 6, 5))
        tiles = cls.of((4, 5), (4, 5), (0, 0), (1, 1), False, True, 0)
        yield Case("large tiles", tiles, drawn(2, 4, 8, 10))
        x = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
        padded = ((2, 2), (2, 2), (1, 1), (1, 1), False)
        golden = (np.array([[[[0.25, 1.25], [2.75, 7]]]], np.float32),)
        yield Case("by hand", cls.of(*padded, True, 0), lambda rng: (x,), golden=golden)
        golden = (np.array([[[[1, 2.5], [5.5, 7]]]], np.float32),)
        yield Case("by hand, inside", cls.of(*padded, False, 0), lambda rng: (x,), golden=golden)
        yield from refused_cases(cls, (True, 0))


class AdaptiveAvgPoolOp(Adaptive, AveragePool):
    """Average pooling over adaptive windows; see AveragePool and Adaptive."""

    def twin(self, torch: Any, x: Any) -> Any:
        return getattr(torch.nn.functional, f"adaptive_avg_pool{self.rank}d")(x, self.output_size)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for name, shape, size in adaptive_cases():
            yield Case(name, cls.of(size), drawn(*shape))
        x = np.array([[[3, 1, 2, 4, 6]]], np.float32)  # windows 0 to 2 and 2 to 4
        golden = (np.array([[[2, 4]]], np.float32),)
        yield Case("by hand", cls.of((2,)), lambda rng: (x,), golden=golden)
        yield Case("no output", cls.of((0,)), drawn(1, 2, 3), error="output_size is")


class LpPoolOp(SlidingAverage):
    """y = (sum of x^p over the window)^(1/p), p = norm_type; the gradient of a zero sum is 0.

    As in PyTorch, x and not |x| is raised to p, and the sum of a window that extends past the end
    (ceil_mode) is scaled up to a full window's, by taps / elements.
    """

    saves = ("x", "y")
    cpu = ("strided",)
    norm_type: float

    def check_window(self, x: Spec) -> None:
        super().check_window(x)
        fits = self.norm_type != 0 and np.isfinite(self.norm_type)
        require(
            fits,
            self,
            "norm_type",
            f"is {self.norm_type}; it must be finite and not 0 (for infinity use max_pool)",
        )
        fits = max(self.padding) == 0
        require(fits, self, "padding", f"is {self.padding}; it must be 0")

    def weight(self, x_shape: Ints, dtype: Any) -> Any:
        """taps / elements of each window."""
        return self.taps(x_shape) / outer(self.window_sizes(x_shape, True), dtype)

    def power(self, x: Array, exponent: float) -> Array:
        if exponent in (1.0, 2.0):
            return x if exponent == 1 else x * x
        return np.power(x, x.dtype.type(exponent))

    def root(self, total: Array, x_shape: Ints) -> tuple[Array, ...]:
        total = total * self.weight(x_shape, total.dtype)
        root = np.sqrt(total) if self.norm_type == 2 else self.power(total, 1 / self.norm_type)
        return (root,)

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        powers = self.power(x, self.norm_type)
        total = sum(np.where(real, powers[place], 0) for place, real in self.places(x.shape))
        return self.root(total, x.shape)

    def forward_strided(self, xp: Any, x: Array) -> tuple[Array, ...]:
        return self.root(self.window_sums(self.power(x, self.norm_type)), x.shape)

    def share(self, dy: Array, y: Array, x_shape: Ints) -> Array:
        """dx = x^(p-1) · sum of share over the windows of x."""
        share = dy * self.power(y, 1 - self.norm_type) * self.weight(x_shape, dy.dtype)
        return np.where(y == 0, dy.dtype.type(0), share)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        dx = np.zeros(saved.x.shape, dys[0].dtype)
        share = self.share(dys[0], saved.y, dx.shape)
        for place, real in self.places(dx.shape):
            self.add_to_places(dx, place, real, share)
        return (dx * self.power(saved.x, self.norm_type - 1),)

    def backward_strided(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        spread = self.spread(self.share(dys[0], saved.y, saved.x.shape), saved.x.shape)
        return (spread * self.power(saved.x, self.norm_type - 1),)

    def twin(self, torch: Any, x: Any) -> Any:
        pool = getattr(torch.nn.functional, f"lp_pool{self.rank}d")
        if self.rank == 1:
            return pool(x, self.norm_type, *self.kernel_size, *self.stride, self.ceil_mode)
        return pool(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def positive(shape: Ints) -> Any:
            return lambda rng: ((rng.random(shape) + 0.1).astype(np.float32),)

        one, none = (1, 1), (0, 0)
        for p in (1.0, 2.0, 2.5):
            gaps = cls.of((2, 3), (2, 2), none, one, False, p)
            yield Case(f"p = {p}", gaps, positive((2, 4, 7, 6)))
        over = cls.of((3, 2), (2, 2), none, one, True, 3.0)
        yield Case("ceil", over, positive((1, 3, 6, 5)))
        line = cls.of((3,), (2,), (0,), (1,), False, 2.0)
        yield Case("1-d", line, drawn(2, 5, 9))
        volume = cls.of((2, 2, 2), (2, 1, 2), (0, 0, 0), (1, 1, 1), False, 2.0)
        yield Case("3-d", volume, drawn(1, 4, 4, 3, 4))
        x = np.array([[[[3, 4, 0, 0], [0, 0, 0, 0]]]], np.float32)
        tiled = cls.of((2, 2), (2, 2), none, one, False, 2.0)
        golden = (np.array([[[[5, 0]]]], np.float32),)
        yield Case("by hand", tiled, lambda rng: (x,), golden=golden)
        yield Case("p = 0", cls.of((2,), (2,), (0,), (1,), False, 0.0), drawn(1, 1, 4),
                   error="norm_type is 0")  # fmt: skip
        yield Case("padded", cls.of((2,), (2,), (1,), (1,), False, 2.0), drawn(1, 1, 4),
                   error="padding is")  # fmt: skip
