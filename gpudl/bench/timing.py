"""Times of alternatives, measured in turns so that a busy moment of the machine hits all of
them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

TURNS = 15
SHORTEST = 2e-3  # seconds that one measurement takes at least: short calls are repeated
BUDGET = 3.0  # seconds for all turns of one alternative


class Timing(NamedTuple):
    """Seconds a call: the median of the turns, and their quartiles."""

    median: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        return {name: float(f"{value:.4g}") for name, value in self._asdict().items()}


def in_turns(
    alternatives: Mapping[str, Callable[[], Any]],
    wait: Callable[[], None] = lambda: None,
    turns: int = TURNS,
) -> dict[str, Timing]:
    """Median seconds of each alternative, measured A B A B …

    wait: returns when all work that was submitted is done (GPUs work on behind the call).
    """
    repeats = {name: _repeats(call, wait) for name, call in alternatives.items()}
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(_turns(repeats, turns)):
        for name, call in alternatives.items():
            seconds[name].append(_measure(call, wait, repeats[name][0]))
    return {name: _timing(values) for name, values in seconds.items()}


def _repeats(call: Callable[[], Any], wait: Callable[[], None]) -> tuple[int, float]:
    """How often to call in one measurement, and how long one call takes; warms up."""
    _measure(call, wait, 1)
    once = min(_measure(call, wait, 1) for _ in range(2))
    return max(1, round(SHORTEST / max(once, 1e-9))), once


def _turns(repeats: Mapping[str, tuple[int, float]], most: int) -> int:
    longest = max(count * once for count, once in repeats.values())
    return max(3, min(most, int(BUDGET / max(longest, 1e-9))))


def _measure(call: Callable[[], Any], wait: Callable[[], None], repeats: int) -> float:
    wait()
    before = time.perf_counter()
    for _ in range(repeats):
        call()
    wait()
    return (time.perf_counter() - before) / repeats


def _timing(values: list[float]) -> Timing:
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return Timing(statistics.median(values), low, high)
