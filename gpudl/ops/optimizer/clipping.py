"""The norm of gradients, and limiting them in place (gpudl.nn.utils uses these)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.core.op import Array, Case, Cost, Op, Spec, require, require_float


def draws(*shape: int, scale: float = 1) -> Any:
    return lambda rng: ((rng.standard_normal(shape) * scale).astype(np.float32),)


class VectorNormOp(Op):
    """y = (Σ|x|^ord)^(1/ord) over all elements, summed in float64; ord = inf: the largest |x|."""

    kernels = ("flat",)
    backward = None  # type: ignore[assignment]
    ord: float = 2.0

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        require(self.ord > 0, self, "ord", f"is {self.ord}; it must be above zero")
        return (Spec((), x.dtype),)

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        size = xp.abs(x.astype(xp.float64))
        if self.ord == math.inf:
            total = size.max() if size.size else xp.zeros(())
        elif self.ord == 2:
            total = xp.sqrt((size * size).sum())
        else:
            total = (size**self.ord).sum() ** (1 / self.ord)
        return (xp.asarray(total).astype(x.dtype),)

    def workspace(self, direction: str, algorithm: str, *specs: Any) -> int:
        return 2 * 1024  # a float64 for each block

    def cost(self, x: Spec) -> Cost:
        return Cost(2 * x.size, x.size * x.dtype.itemsize)

    def twin(self, torch: Any, x: Any) -> Any:
        return (
            torch.linalg.vector_norm(x, self.ord) if x.numel() else torch.zeros((), dtype=x.dtype)
        )

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for p in (1.0, 2.0, 3.5, math.inf):
            yield Case(f"{p}", cls.of(p), draws(37, 11))
            yield Case(f"{p}, empty", cls.of(p), draws(0))
        yield Case("many blocks", cls(), draws(3, 4567))
        yield Case("many blocks, largest", cls.of(math.inf), draws(13001))
        yield Case("unaligned", cls(), lambda rng: (draws(603)(rng)[0][1:],))
        yield Case("large", cls(), draws(50, scale=1e25))
        x = np.array([3, -4], np.float32)
        yield Case("by hand", cls(), lambda rng: (x,), golden=(np.float32(5),))
        odd = np.array([1, np.nan, np.inf], np.float32)
        yield Case("NaN", cls.of(math.inf), lambda rng: (odd,), golden=(np.float32(np.nan),))
        yield Case("ord 0", cls.of(0.0), draws(3), error="ord is 0")
        yield Case("integers", cls(), lambda rng: (np.arange(3),), error="x is int64")


class ClipNormOp(Op):
    """x *= min(1, max_norm/(norm + 1e-6)) in place; norm is one number on the device. Pascanu,
    Mikolov, Bengio 2013, algorithm 1; PyTorch adds the 1e-6."""

    inputs = ("x", "norm")
    outputs = ()
    mutates = ("x",)
    kernels = ("flat",)
    backward = None  # type: ignore[assignment]
    max_norm: float

    def infer(self, x: Spec, norm: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x, norm=norm)
        require(norm.shape == (), self, "norm", f"is {norm}; it must be a single number")
        return ()

    def forward(self, xp: Any, x: Array, norm: Array) -> tuple[Array, ...]:
        factor = x.dtype.type(self.max_norm) / (norm + x.dtype.type(1e-6))
        x *= xp.minimum(factor, x.dtype.type(1))  # NaN passes
        return ()

    def cost(self, x: Spec, norm: Spec) -> Cost:
        return Cost(x.size, 2 * x.size * x.dtype.itemsize)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for norm in (0.5, 3, np.nan, np.inf):
            given = np.array(norm, np.float32)
            yield Case(f"norm {norm}", cls.of(1.5), lambda rng, n=given: (*draws(67, 5)(rng), n))
        two = np.array(2, np.float32)
        yield Case("unaligned", cls.of(1.0), lambda rng: (draws(63)(rng)[0][1:], two))
        yield Case("norms", cls.of(1.0), lambda rng: draws(3)(rng) * 2, error="norm is .* a single")


class ClipValueOp(Op):
    """x limited in place to [-bound, bound]; NaN stays."""

    outputs = ()
    mutates = ("x",)
    kernels = ("flat",)
    backward = None  # type: ignore[assignment]
    bound: float

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        return ()

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        xp.clip(x, -self.bound, self.bound, out=x)
        return ()

    def cost(self, x: Spec) -> Cost:
        return Cost(2 * x.size, 2 * x.size * x.dtype.itemsize)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case("draws", cls.of(0.5), draws(31, 5))
        odd = np.array([np.nan, np.inf, -np.inf, 0.25], np.float32)
        yield Case("special values", cls.of(2.0), lambda rng: (odd.copy(),))
