"""Test cases shared by all pools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpudl.core.op import Array, Case

Ints = tuple[int, ...]


def drawn(*shape: int) -> Callable[[np.random.Generator], tuple[Array]]:
    """make(rng) of a Case: one normal array of this shape."""
    return lambda rng: (rng.standard_normal(shape).astype(np.float32),)


def window_cases() -> Iterator[tuple[str, Ints, tuple[Any, ...]]]:
    """(name, shape of x, fields of Sliding), for every kind of pool."""
    one, none, two = (1, 1), (0, 0), (2, 2)
    yield "2x2", (2, 6, 8, 6), (two, two, none, one, False)
    yield "2x2 four channels, odd size", (3, 4, 5, 7), (two, two, none, one, False)
    yield "gaps between windows", (2, 5, 9, 8), ((2, 1), (3, 3), none, one, False)
    yield "overlap", (2, 8, 7, 9), ((3, 3), two, one, one, False)
    yield "overlap, stride 1", (1, 3, 5, 6), ((3, 2), one, none, one, False)
    yield "ceil", (1, 4, 6, 7), ((3, 2), (2, 3), none, one, True)
    yield "ceil and padding", (2, 2, 5, 5), (two, two, one, one, True)
    yield "window larger than x, ceil", (1, 1, 3, 3), ((4, 4), (3, 3), none, one, True)
    yield "whole image", (3, 7, 4, 5), ((4, 5), (4, 5), none, one, False)
    yield "1x1", (1, 1, 1, 1), (one, one, none, one, False)
    yield "empty batch", (0, 3, 4, 4), (two, two, none, one, False)
    yield "1-d", (2, 5, 13), ((3,), (2,), (1,), (1,), True)
    yield "3-d", (1, 4, 5, 4, 6), ((2, 3, 2), (2, 1, 2), (1, 0, 1), (1, 1, 1), False)


def adaptive_cases() -> Iterator[tuple[str, Ints, Ints]]:
    """(name, shape of x, output_size)."""
    yield "uneven", (2, 4, 7, 5), (3, 2)
    yield "larger than x", (1, 3, 3, 4), (5, 4)
    yield "global", (2, 8, 5, 6), (1, 1)
    yield "1-d", (2, 3, 11), (4,)
    yield "3-d", (1, 4, 3, 5, 4), (2, 3, 3)
    yield "empty batch", (0, 3, 4, 4), (3, 3)


def refused_cases(cls: Any, more: tuple[Any, ...]) -> Iterator[Case]:
    """Inputs that must be refused; `more`: the fields beyond Sliding's."""
    two, none, one = (2, 2), (0, 0), (1, 1)
    x = drawn(1, 1, 4, 4)
    fits = cls.of(two, two, none, one, False, *more)
    large = cls.of((5, 5), two, none, one, False, *more)
    yield Case("window too large", large, x, error="kernel_size spans")
    padded = cls.of(two, two, two, one, False, *more)
    yield Case("much padding", padded, x, error="padding is")
    yield Case("stride 0", cls.of(two, none, none, one, False, *more), x, error="stride is")
    yield Case("three axes", fits, drawn(1, 4, 4), error="x is float32")
    yield Case("no channels", fits, drawn(1, 0, 4, 4), error="only the batch")
    yield Case("integers", fits, lambda rng: (np.ones((1, 1, 4, 4), int),), error="x is int64")
