"""Reductions beyond sums: variance, standard deviation, logsumexp, norms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Case
from gpudl.core.public import Dim, public
from gpudl.ops.elementwise.base import fixed
from gpudl.ops.reduce.sums import Reduction, kept_shape, reduce


class VarOp(Reduction):
    """y = Σ (x - mean)² / (n - correction)."""

    correction: float
    saves: ClassVar[tuple[str, ...]] = ("x",)
    variants = ((1.0,), (0.0,))

    def spread(self, xp: Any, x: Any, axes: tuple[int, ...]) -> tuple[Any, Any]:
        """x - mean in float64, whose squares cannot overflow, and the divisor."""
        n = self.count(x)
        mean = xp.true_divide(x.sum(axis=axes, keepdims=True, dtype=np.float64), np.float64(n))
        return x - mean, np.float64(max(0.0, n - self.correction))

    def variance(self, xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
        centred, n = self.spread(xp, x, axes)
        return xp.square(centred).sum(axis=axes, keepdims=True) / n

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
        return self.variance(xp, x, axes).astype(x.dtype, copy=False)

    def derivative(self, xp: Any, dy: Any, saved: Any, axes: tuple[int, ...]) -> Any:
        centred, n = self.spread(xp, saved.x, axes)
        return (dy * centred * (2 / n)).astype(dy.dtype, copy=False)

    def twin(self, torch: Any, x: Any) -> Any:
        function = getattr(torch, self.name)
        return function(x, self.dim, correction=self.correction, keepdim=self.keepdim)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for case in super().cases():
            if not case.name.startswith(("no ", "over")) or case.error:  # NaN, with a warning
                yield case


class StdOp(VarOp):
    """y = √var. The gradient is 0 where y is 0."""

    saves = ("x", "y")

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
        return xp.sqrt(self.variance(xp, x, axes)).astype(x.dtype, copy=False)

    def derivative(self, xp: Any, dy: Any, saved: Any, axes: tuple[int, ...]) -> Any:
        y = self.with_axes(saved.y, saved)
        centred, n = self.spread(xp, saved.x, axes)
        slope = xp.where(y == 0, 0, dy / y)
        return (slope * (centred / n)).astype(dy.dtype, copy=False)


class LogsumexpOp(Reduction):
    """y = log Σ exp x, without overflow."""

    saves = ("x", "y")
    empty = False

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
        if self.count(x) == 0:
            return xp.full(kept_shape(x.shape, axes, True), -np.inf, x.dtype)
        top = x.max(axis=axes, keepdims=True)
        top = xp.where(xp.isfinite(top), top, 0).astype(x.dtype)
        return xp.log(xp.exp(x - top).sum(axis=axes, keepdims=True)) + top

    def derivative(self, xp: Any, dy: Any, saved: Any, axes: tuple[int, ...]) -> Any:
        return dy * xp.exp(saved.x - self.with_axes(saved.y, saved))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        x, y = [[100.0, 100.0], [-np.inf, -np.inf]], [100 + math.log(2), -np.inf]
        yield Case("big", cls((1,), False), fixed(x), golden=(np.array(y, np.float32),))


class NormOp(Reduction):
    """y = (Σ |x|^p)^(1/p); p = ∞ gives the largest |x|, -∞ the smallest, 0 the number of nonzero x.
    The gradient is 0 where y is 0."""

    p: float
    saves = ("x", "y")
    variants = ((2.0,), (1.0,), (3.0,), (np.inf,), (-np.inf,))

    def compute(self, xp: Any, x: Any, axes: tuple[int, ...]) -> Any:
        size = xp.abs(x)
        if self.p == np.inf:
            return size.max(axis=axes, keepdims=True, initial=0)
        if self.p == -np.inf:
            return size.min(axis=axes, keepdims=True, initial=np.inf)
        if self.p == 0:
            return (x != 0).sum(axis=axes, keepdims=True).astype(x.dtype)
        total = (size.astype(np.float64) ** self.p).sum(axis=axes, keepdims=True)  # no overflow
        return (total ** (1 / self.p)).astype(x.dtype)

    def derivative(self, xp: Any, dy: Any, saved: Any, axes: tuple[int, ...]) -> Any:
        x, y, p = saved.x, self.with_axes(saved.y, saved), self.p
        if p == 0:
            return xp.zeros_like(x)
        if np.isinf(p):
            chosen = xp.abs(x) == y
            return xp.where(
                chosen, xp.sign(x) * dy / chosen.sum(axis=axes, keepdims=True), 0
            ).astype(dy.dtype)
        share = x / xp.where(y == 0, 1, y)
        if p != 2:
            share = xp.where(x == 0, 0, xp.sign(x) * xp.abs(share) ** x.dtype.type(p - 1))
        return xp.where(y == 0, 0, dy * share).astype(dy.dtype)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.linalg.vector_norm(x, self.p, dim=self.dim, keepdim=self.keepdim)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        want = (np.array(5.0, np.float32),)
        yield Case("3 4 5", cls(None, False, 2.0), fixed([3.0, -4.0]), golden=want)
        yield Case("zeros", cls(None, False, 2.0), fixed([0.0, 0.0]), golden=(np.float32(0),))
        yield Case("count", cls(None, False, 0.0), fixed([0.0, 3.0]), golden=(np.float32(1),))

    empty = False


def _correction(dim: Any, unbiased: bool | None, correction: float | None) -> tuple[Dim, float]:
    """(dim, correction), also from PyTorch's older var(unbiased) and var(dim, unbiased)."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is None:
        return dim, 1.0 if correction is None else float(correction)
    return dim, float(unbiased)


@public("gpudl", "Tensor")
def var(
    input: Tensor,
    dim: Dim = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = 1,
) -> Tensor:
    """Variance over `dim`: Σ (x - mean)² / (n - correction)."""
    dims, c = _correction(dim, unbiased, correction)
    return reduce(VarOp, input, dims, keepdim, c)


@public("gpudl", "Tensor")
def std(
    input: Tensor,
    dim: Dim = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = 1,
) -> Tensor:
    """Standard deviation over `dim`: the square root of var()."""
    dims, c = _correction(dim, unbiased, correction)
    return reduce(StdOp, input, dims, keepdim, c)


@public("gpudl", "Tensor")
def logsumexp(input: Tensor, dim: Dim, keepdim: bool = False) -> Tensor:
    """log Σ exp(input) over `dim`, without overflow."""
    return reduce(LogsumexpOp, input, dim, keepdim)


@public("gpudl", "Tensor")
def norm(
    input: Tensor,
    p: float | str = "fro",
    dim: Dim = None,
    keepdim: bool = False,
    *,
    dtype: Any = None,
) -> Tensor:
    """(Σ |input|^p)^(1/p) over `dim`, by default all axes. p: "fro" is 2, inf gives the largest
    |input|, 0 the number of nonzero elements. dtype: convert the input first."""
    if isinstance(p, str) and p != "fro":
        raise ValueError(f"norm: p is {p!r}; use a number or 'fro'")
    if dtype is not None:
        input = input.to(dtype)
    return reduce(NormOp, input, dim, keepdim, 2.0 if p == "fro" else float(p))
