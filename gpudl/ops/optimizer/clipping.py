"""The norm of gradients, and clipping them in place (used by gpudl.nn.utils)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from gpudl.core.op import Array, Case, Cost, Op, Spec, require, require_float
from gpudl.ops.optimizer.blocks import require_blocks


def draws(*shape: int, scale: float = 1) -> Any:
    return lambda rng: ((rng.standard_normal(shape) * scale).astype(np.float32), None, None)


SCATTERED = (  # of 6000 elements: [3, 4503), [4600, 4601), [4704, 4741)
    np.array([[3], [4600], [4704]]),
    np.array([(2, 0, 37), (0, 0, 4096), (0, 4096, 404), (1, 0, 1)], np.int32),
)


def parts(x: Any, rows: Any, blocks: Any) -> list[Any]:
    """The pieces of x that the tables locate, or x itself without tables."""
    if rows is None:
        return [x]
    return [x[(at := rows[row, 0] + first) : at + count] for row, first, count in blocks]


def power_sum(xp: Any, arrays: Iterable[Any], ord: float) -> Any:
    """Σ|x|^ord over all arrays, in float64; the largest |x| for ord = inf."""
    total = xp.zeros(())
    for x in arrays:
        size = xp.abs(x.astype(xp.float64))
        if ord == math.inf:
            total = xp.maximum(total, size.max()) if size.size else total
        else:
            total = total + (size * size if ord == 2 else size**ord).sum()
    return total


def root(xp: Any, total: Any, ord: float) -> Any:
    """The norm, from the sum of powers."""
    return total if ord == math.inf else xp.sqrt(total) if ord == 2 else total ** (1 / ord)


class VectorNormOp(Op):
    """y = (Σ|x|^ord)^(1/ord) over all elements, summed in float64; the largest |x| for ord = inf.
    With tables (gpudl.ops.optimizer.blocks), over the pieces of x that they locate."""

    inputs = ("x", "rows?", "blocks?")
    kernels = ("flat",)
    backward = None  # type: ignore[assignment]
    ord: float = 2.0

    def infer(self, x: Spec, rows: Any, blocks: Any) -> tuple[Spec, ...]:
        require_float(self, x=x)
        require(self.ord > 0, self, "ord", f"is {self.ord}; it must be above 0")
        require_blocks(self, rows, blocks, 1)
        return (Spec((), x.dtype),)

    def forward(self, xp: Any, x: Array, rows: Any, blocks: Any) -> tuple[Array, ...]:
        return (self.over(xp, parts(x, rows, blocks)).astype(x.dtype),)

    def over(self, xp: Any, arrays: Sequence[Array]) -> Array:
        """The norm over all arrays together, in float64."""
        return xp.asarray(root(xp, power_sum(xp, arrays, self.ord), self.ord))

    def cost(self, x: Spec, rows: Any, blocks: Any) -> Cost:
        return Cost(2 * x.size, x.size * x.dtype.itemsize)

    def twin(self, torch: Any, x: Any, rows: Any, blocks: Any) -> Any:
        if rows is not None:
            x = torch.cat(parts(x, rows.numpy(), blocks.numpy()))
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
        yield Case("unaligned", cls(), lambda rng: (draws(603)(rng)[0][1:], None, None))
        yield Case("large", cls(), draws(50, scale=1e25))
        x = np.array([3, -4], np.float32)
        yield Case("by hand", cls(), lambda rng: (x, None, None), golden=(np.float32(5),))
        odd = np.array([1, np.nan, np.inf], np.float32)
        yield Case(
            "NaN", cls.of(math.inf), lambda rng: (odd, None, None), golden=(np.float32(np.nan),)
        )
        yield Case("ord 0", cls.of(0.0), draws(3), error="ord is 0")
        yield Case("integers", cls(), lambda rng: (np.arange(3), None, None), error="x is int64")
        for p in (2.0, math.inf):
            yield Case(
                f"scattered, {p}", cls.of(p), lambda rng: (*draws(6000)(rng)[:1], *SCATTERED)
            )
        alone = (SCATTERED[0], None)
        yield Case(
            "no blocks", cls(), lambda rng: (draws(5)(rng)[0], *alone), error="blocks is None"
        )


class ClipNormOp(Op):
    """x *= min(1, max_norm/(norm + 1e-6)) in place; norm is one number on the device. Pascanu,
    Mikolov, Bengio 2013, algorithm 1; the 1e-6 is PyTorch's."""

    inputs = ("x", "norm", "rows?", "blocks?")
    outputs = ()
    mutates = ("x",)
    kernels = ("flat",)
    backward = None  # type: ignore[assignment]
    max_norm: float

    def infer(self, x: Spec, norm: Spec, rows: Any, blocks: Any) -> tuple[Spec, ...]:
        require_float(self, x=x, norm=norm)
        require_blocks(self, rows, blocks, 1)
        require(norm.shape == (), self, "norm", f"is {norm}; it must be a single number")
        return ()

    def forward(self, xp: Any, x: Array, norm: Array, rows: Any, blocks: Any) -> tuple[Array, ...]:
        self.over(xp, parts(x, rows, blocks), norm)
        return ()

    def over(self, xp: Any, arrays: Sequence[Array], norm: Array) -> None:
        """Scale all arrays in place; they have norm's dtype."""
        number = norm.dtype.type
        factor = xp.minimum(
            number(self.max_norm) / (norm + number(1e-6)), number(1)
        )  # NaN propagates
        for x in arrays:
            x *= factor

    def cost(self, x: Spec, norm: Spec, rows: Any, blocks: Any) -> Cost:
        return Cost(x.size, 2 * x.size * x.dtype.itemsize)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def drawn(n: int, norm: float, *tables: Any) -> Any:
            given = np.array(norm, np.float32)
            return lambda rng: (draws(n)(rng)[0][n % 2 :], given, *(tables or (None, None)))

        for norm in (0.5, 3, np.nan, np.inf):
            yield Case(f"norm {norm}", cls.of(1.5), drawn(334, norm))
        yield Case("unaligned", cls.of(1.0), drawn(63, 2))
        yield Case("scattered", cls.of(1.0), drawn(6000, 2, *SCATTERED))
        pair = np.ones(2, np.float32)
        wrong = lambda rng: (pair, pair, None, None)  # noqa: E731
        yield Case("norms", cls.of(1.0), wrong, error="norm is .* a single")


class ClipValueOp(Op):
    """x clamped in place to [-bound, bound]; NaN is unchanged."""

    inputs = ("x", "rows?", "blocks?")
    outputs = ()
    mutates = ("x",)
    kernels = ("flat",)
    backward = None  # type: ignore[assignment]
    bound: float

    def infer(self, x: Spec, rows: Any, blocks: Any) -> tuple[Spec, ...]:
        require_float(self, x=x)
        require_blocks(self, rows, blocks, 1)
        return ()

    def forward(self, xp: Any, x: Array, rows: Any, blocks: Any) -> tuple[Array, ...]:
        self.over(xp, parts(x, rows, blocks))
        return ()

    def over(self, xp: Any, arrays: Sequence[Array]) -> None:
        """Clamp all arrays in place."""
        for x in arrays:
            xp.clip(x, -self.bound, self.bound, out=x)

    def cost(self, x: Spec, rows: Any, blocks: Any) -> Cost:
        return Cost(2 * x.size, 2 * x.size * x.dtype.itemsize)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case("draws", cls.of(0.5), draws(31, 5))
        odd = np.array([np.nan, np.inf, -np.inf, 0.25], np.float32)
        yield Case("special values", cls.of(2.0), lambda rng: (odd.copy(), None, None))
        scattered = lambda rng: (*draws(6000)(rng)[:1], *SCATTERED)  # noqa: E731
        yield Case("scattered", cls.of(0.5), scattered)
