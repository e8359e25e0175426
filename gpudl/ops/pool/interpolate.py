"""Resampling of the spatial axes: F.interpolate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.launcher import Launcher
from gpudl.core.op import Array, Case, Cost, Op, Spec, require, require_float
from gpudl.core.public import public
from gpudl.ops.elementwise.base import fixed, normal
from gpudl.ops.pool.adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)
from gpudl.ops.pool.base import MOST_ELEMENTS, Ints

TAPS = {"nearest": 1, "nearest_exact": 1, "linear": 2, "cubic": 4}
CUBIC = -0.75  # the parameter of Keys' cubic convolution, 1981, as PyTorch and OpenCV set it


class InterpolateOp(Op):
    """y[p, q] = sum over taps (i, j) of weight(p, i)·weight(q, j)·x[i, j]; likewise in one and
    three dimensions.

    Output p samples x at p·scale (nearest, or with align_corners), else at (p + 1/2)·scale - 1/2,
    which aligns pixel edges. The taps are the elements around that position, clamped to the border.
    method: nearest, nearest_exact (the element nearest to the centre), linear, cubic. size: spatial
    extents of y. scales: elements of x per element of y, one per axis.
    """

    kernels = ("nearest", "nearest_exact", "linear", "linear_planes", "cubic")

    size: Ints
    method: str
    align_corners: bool
    scales: tuple[float, ...]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        rank = len(self.size)
        require(len(x.shape) == rank + 2, self, "x", f"is {x}; it must have {rank + 2} axes")
        require(0 not in x.shape[1:], self, "x", f"is {x}; only the batch may be empty")
        require(min(self.size) >= 1, self, "size", f"is {self.size}; it must be at least 1")
        fits = self.method in TAPS and (self.method != "cubic" or rank == 2)
        message = f"is {self.method!r}; it must be one of {tuple(TAPS)}, cubic only for images"
        require(fits, self, "method", message)
        y = Spec((*x.shape[:2], *self.size), x.dtype)
        for name, spec in (("x", x), ("y", y)):
            fits = spec.size <= MOST_ELEMENTS
            require(fits, self, name, f"is {spec}; it must have at most 2^31 - 1 elements")
        return (y,)

    def supports(self, kernel: Launcher, x: Spec) -> bool:
        planes = self.method == "linear" and len(self.size) == 3
        return kernel.algorithm == (f"{self.method}_planes" if planes else self.method)

    def parameters(self) -> dict[str, Any]:
        fields = super().parameters()
        scales = ((1.0,) * 3 + self.scales)[-3:]
        return {**fields, **dict(zip(("scale_d", "scale_h", "scale_w"), scales, strict=True))}

    def taps(self, axis: int, extent: int, dtype: Any) -> list[tuple[Array, Array]]:
        """For each tap: the element of x that each output reads, and its weight."""
        # nearest picks elements in float32 for every dtype, like the kernels and PyTorch.
        real = np.float32 if TAPS[self.method] == 1 or dtype == np.float32 else np.float64
        p, scale = np.arange(self.size[axis]).astype(real), real(self.scales[axis])
        if TAPS[self.method] == 1:
            offset = real(0.5) if self.method == "nearest_exact" else real(0)
            first = np.floor((p + offset) * scale).astype(int)
            weights = [np.ones(len(p), dtype)]
        else:
            at = p * scale if self.align_corners else (p + real(0.5)) * scale - real(0.5)
            if self.method == "linear":
                at = np.maximum(at, 0)
                first = np.minimum(np.floor(at).astype(int), extent - 1)
                right = np.clip(at - first, 0, 1)
                weights = [1 - right, right]
            else:
                first = np.floor(at).astype(int)
                weights = cubic_weights(at - first)
                first = first - 1
        places = (np.clip(first + t, 0, extent - 1) for t in range(len(weights)))
        return [(i, w.astype(dtype)) for i, w in zip(places, weights, strict=True)]

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        for axis, extent in enumerate(x.shape[2:]):
            taps, along = self.taps(axis, extent, x.dtype), axis + 2
            if len(taps) == 1:
                x = x.take(taps[0][0], axis=along)
            else:
                x = sum(x.take(i, axis=along) * broadcast(w, along, x.ndim) for i, w in taps)
        return (x,)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        dx, shape = dys[0], saved.specs[0].shape
        for along in range(2, len(shape)):
            taps = self.taps(along - 2, shape[along], dx.dtype)
            dx = sum(gathered(dx * broadcast(w, along, dx.ndim), i, along, shape[along])
                     for i, w in taps)  # fmt: skip
        return (dx,)

    def reduction(self, x: Spec) -> int:
        """For forward and backward; interpolation weights inherit the rounding of positions."""
        sizes = zip(self.size, x.shape[2:], strict=True)
        worst = math.prod(max(TAPS[self.method], 4 * -(-p // n)) for p, n in sizes)
        return worst * (max(x.shape[2:]) ** 2 if TAPS[self.method] > 1 else 1)

    def cost(self, x: Spec) -> Cost:
        (y,) = self.infer(x)
        taps = TAPS[self.method]
        flops = 0 if taps == 1 else 2 * y.size * taps ** len(self.size)
        return Cost(flops, (x.size + y.size) * x.dtype.itemsize)

    def twin(self, torch: Any, x: Any) -> Any:
        mode = self.method.replace("_", "-")
        if mode == "linear":
            mode = ("linear", "bilinear", "trilinear")[len(self.size) - 1]
        mode = "bicubic" if mode == "cubic" else mode
        corners = None if TAPS[self.method] == 1 else self.align_corners
        default = sizes_to_scales(tuple(x.shape[2:]), self.size, self.align_corners)
        if self.scales == default:
            return torch.nn.functional.interpolate(x, self.size, None, mode, corners)
        factors = tuple(1 / s for s in self.scales)
        return torch.nn.functional.interpolate(x, None, factors, mode, corners, False)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for method in TAPS:
            for corners in (False, True) if TAPS[method] > 1 else (False,):
                for shape, size in [((2, 3, 4, 5), (7, 3)), ((1, 4, 5, 4), (3, 10))]:
                    scales = sizes_to_scales(shape[2:], size, corners)
                    name = f"{method} {shape} {corners}"
                    yield Case(name, cls.of(size, method, corners, scales), normal(shape))
            factor = cls.of((7, 11), method, False, (1 / 2.5, 1 / 2.3))
            yield Case(f"{method} factor", factor, normal((1, 4, 3, 5)))
        for method in ("nearest", "nearest_exact", "linear"):
            scales = sizes_to_scales((2, 3, 2), (3, 2, 5), False)
            volume = cls.of((3, 2, 5), method, False, scales)
            yield Case(f"{method} 3-d", volume, normal((1, 4, 2, 3, 2)))
            line = cls.of((7,), method, False, (4 / 7,))
            yield Case(f"{method} 1-d", line, normal((2, 3, 4)))
        single = cls.of((1, 3), "linear", True, (0.0, 0.5))
        yield Case("one row, corners", single, normal((1, 2, 3, 2)))
        golden = {"nearest": [1, 1, 3, 3], "linear": [1, 1.5, 2.5, 3]}
        for method, y in golden.items():
            op, want = cls.of((4,), method, False, (0.5,)), (np.array([[y]], np.float32),)
            yield Case(f"{method} numbers", op, fixed([[[1.0, 3.0]]]), golden=want)
        twice = cls.of((4, 4), "nearest", False, (0.5, 0.5))
        yield Case("empty batch", twice, normal((0, 3, 2, 2)))
        yield Case("axes", twice, normal((1, 3, 2)), error="interpolate: x is")
        line = cls.of((4,), "cubic", False, (0.5,))
        yield Case("cubic line", line, normal((1, 3, 2)), error="interpolate: method is")


def cubic_weights(t: Array) -> list[Array]:
    """Weights of the four elements around a position, t after the second (Keys 1981, eq. 4)."""
    a = t.dtype.type(CUBIC)

    def near(t: Array) -> Array:
        return ((a + 2) * t - (a + 3)) * t * t + 1

    def far(t: Array) -> Array:
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def broadcast(vector: Array, axis: int, rank: int) -> Array:
    return vector.reshape(-1, *(1,) * (rank - axis - 1))


def gathered(values: Array, index: Array, axis: int, extent: int) -> Array:
    """y[i] = sum of the values with index i, along an axis; index must not decrease."""
    y = np.zeros((*values.shape[:axis], extent, *values.shape[axis + 1 :]), values.dtype)
    starts = np.flatnonzero(np.diff(index, prepend=-1))
    y[(slice(None),) * axis + (index[starts],)] = np.add.reduceat(values, starts, axis=axis)
    return y


def sizes_to_scales(x: Ints, y: Ints, corners: bool) -> tuple[float, ...]:
    """Elements of x per element of y that align the corners' centres (`corners`) or edges."""
    if corners:
        return tuple((n - 1) / (p - 1) if p > 1 else 0.0 for n, p in zip(x, y, strict=True))
    return tuple(n / p for n, p in zip(x, y, strict=True))


RANKS = {"linear": (1,), "bilinear": (2,), "trilinear": (3,), "bicubic": (2,)}
METHODS = {
    "nearest": "nearest",
    "nearest-exact": "nearest_exact",
    "linear": "linear",
    "bilinear": "linear",
    "trilinear": "linear",
    "bicubic": "cubic",
}
AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}


@public("functional")
def interpolate(
    input: Tensor,
    size: int | tuple[int, ...] | None = None,
    scale_factor: float | tuple[float, ...] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """Resample the one to three spatial axes of (N, C, …) to `size` or by `scale_factor`.

    mode: nearest, nearest-exact, linear (1-d), bilinear, bicubic (2-d), trilinear (3-d), area
    (means of adaptive windows). align_corners: align the centres of the corners, not their edges.
    recompute_scale_factor: use the ratio of the sizes instead of scale_factor.
    Raises ValueError unless exactly one of size and scale_factor is given and mode fits the axes.
    """
    if antialias:
        raise ValueError("interpolate: antialias is not supported; leave it at its default")
    rank = input.ndim - 2
    if mode not in (*METHODS, "area") or rank not in RANKS.get(mode, (1, 2, 3)):
        raise ValueError(
            f"interpolate: mode is {mode!r} for input {list(input.shape)}; use nearest, "
            "nearest-exact, area, linear (1-d), bilinear, bicubic (2-d) or trilinear (3-d)"
        )
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give exactly one of size and scale_factor")
    if align_corners is not None and mode not in RANKS:
        raise ValueError(f"interpolate: align_corners must be None for mode {mode!r}")
    spatial = tuple(input.shape[2:])
    sizes, factors = _sizes(spatial, size, scale_factor)
    if mode == "area":
        return AREA[rank](input, sizes)
    corners = bool(align_corners)
    scales = sizes_to_scales(spatial, sizes, corners)
    if factors is not None and not recompute_scale_factor and not corners:
        scales = tuple(1 / factor for factor in factors)
    return apply(InterpolateOp.of(sizes, METHODS[mode], corners, scales), input)  # type: ignore[no-any-return]


def _sizes(
    spatial: Ints, size: int | tuple[int, ...] | None, factor: float | tuple[float, ...] | None
) -> tuple[Ints, tuple[float, ...] | None]:
    """The output's spatial extents, and the scale factors if given."""
    rank, given = len(spatial), factor if size is None else size
    each = (given,) * rank if isinstance(given, (int, float)) else tuple(given or ())
    if len(each) != rank:
        what = "scale_factor" if size is None else "size"
        raise ValueError(
            f"interpolate: {what} is {given}; it must be one number or a tuple of {rank}"
        )
    if size is not None:
        return tuple(int(n) for n in each), None
    if min(each) <= 0:
        raise ValueError(f"interpolate: scale_factor is {given}; it must be above 0")
    return tuple(math.floor(n * f) for n, f in zip(spatial, each, strict=True)), each
