"""Test cases of batch normalisation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.core.op import Case


def cases(cls: Any) -> Iterator[Case]:
    for shape in [(5, 3), (2, 3, 4, 5), (300, 7), (1, 1, 1, 2), (9, 33, 6, 7), (3, 6, 2, 1, 3)]:
        name = "x".join(map(str, shape))
        yield Case(f"training {name}", cls.of(True), drawn(shape))
        fused = cls.of(True, 0.3, 1e-3, "relu")
        yield Case(f"fused {name}", fused, drawn(shape, residual=True))
    for activation in ("relu", "relu6", "leaky_relu"):
        op = cls.of(True, 0.1, 1e-5, activation, False, True)
        yield Case(f"bits {activation}", op, drawn((3, 72, 5, 3), residual=True, offset=3))
    for shape in [(2, 3, 4, 5), (3, 70, 2), (2, 130)]:
        yield Case(f"inference {shape}", cls.of(False), drawn(shape))
    yield Case("bits, many rows", cls.of(True, 0.1, 1e-5, "relu", False, True), drawn((1800, 8)))
    yield Case("many rows", cls.of(True), drawn((5, 5, 21, 20)))
    mean_of_all = cls.of(True, 0.0, 1e-5, "none", True)
    yield Case("cumulative", mean_of_all, drawn((6, 4), present=(1, 2), batches=4))
    yield Case("counted", cls.of(True), drawn((6, 4), batches=4))
    fused = cls.of(False, 0.1, 1e-5, "relu")
    yield Case("fused inference", fused, drawn((4, 5), residual=True))
    yield Case("one value in inference", cls.of(False), drawn((1, 3)))
    yield Case("empty batch in inference", cls.of(False), drawn((0, 3, 2, 2)))
    yield Case("statistics alone", cls.of(True), drawn((6, 4), present=()))
    yield Case("large mean", cls.of(True), drawn((40, 3, 5, 5), offset=30))
    yield Case("constant", cls.of(True), lambda rng: (np.full((6, 5), 7, np.float32), *[None] * 6))
    yield from golden_cases(cls)
    yield Case("one value", cls.of(True), drawn((1, 3, 1, 1)), error="more than one value")
    yield Case("rank", cls.of(True), drawn((2, 3, 1, 1, 1, 4)), error=r"x is float32\[2, 3, 1")
    lone = drawn((6, 4), present=(3, 4))
    yield Case("no statistics", cls.of(False), lone, error="running_mean is None")
    yield Case("no count", mean_of_all, drawn((6, 4)), error="batches is None")


def golden_cases(cls: Any) -> Iterator[Case]:
    """By hand: columns (1, 3) and (0, 4) have means 2, 2 and variances 1, 4."""
    x = np.array([[1, 0], [3, 4]], np.float32)
    zero, one, two, four = (np.full(2, v, np.float32) for v in (0, 1, 2, 4))
    y = np.array([[-1, -1], [3, 3]], np.float32)  # 2·(±1) + 1

    def train(rng: Any) -> tuple[Any, ...]:
        return x, zero.copy(), zero.copy(), two, one, None, None

    yield Case(
        "by hand",
        cls.of(True, 0.1, 1e-12),
        train,
        golden=(y, two, 1 / np.array([1, 2], np.float32)),
    )
    y = np.array([[0, 0], [0.75, 1.25]], np.float32)  # max(0, (x - 1.5)/2)

    def infer(rng: Any) -> tuple[Any, ...]:
        return x, one + 0.5, four, None, None, None, None

    op = cls.of(False, 0.1, 1e-12, "relu")
    yield Case("inference by hand", op, infer, golden=(y, one + 0.5, one / 2))


def drawn(
    shape: tuple[int, ...],
    residual: bool = False,
    present: tuple[int, ...] = (1, 2, 3, 4),
    offset: float = 0.5,
    batches: int | None = None,
) -> Any:
    """make(rng) of a Case: x, running_mean, running_var, weight, bias (these four only if their
    numbers 1 to 4 are in `present`), residual, batches."""

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        c = shape[1]
        x = rng.standard_normal(shape) * 1.5 + offset
        vectors = [rng.standard_normal(c), rng.random(c) + 0.5, rng.random(c) + 0.5, rng.random(c)]
        given = [v if i in present else None for i, v in enumerate(vectors, 1)]
        arrays = [x, *given, rng.standard_normal(shape) if residual else None]
        count = None if batches is None else np.array(batches)
        return (*(None if a is None else a.astype(np.float32) for a in arrays), count)

    return make
