"""Times of alternatives, measured in turns so that a busy moment of the machine hits all of
them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

TURNS = 15
SHORTEST = 2e-3  # seconds that one measurement takes at least: short calls are repeated
BUDGET = 3.0  # seconds for all turns of one alternative


class Timing(NamedTuple):
    """Seconds a call: the median of the turns, their quartiles, and all of them."""

    median: float
    low: float
    high: float
    samples: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """What a report keeps: without the samples, which nothing reads again."""
        numbers = {n: rounded(v) for n, v in self._asdict().items() if n != "samples"}
        return {**numbers, "turns": len(self.samples)}


def rounded(value: float) -> float:
    """Four significant digits: no measurement has more."""
    return float(f"{value:.4g}")


class Loop(NamedTuple):
    """Something to time: `run` does `calls` calls, one for each set of inputs. how: "calls", or
    "graph" where they are one launch."""

    run: Callable[[], Any]
    calls: int = 1
    how: str = "calls"


class HostClock:
    """Time that passes on the host until the work is done.

    wait: returns when all work that was submitted is done (GPUs work on behind the call).
    """

    def __init__(self, wait: Callable[[], None] = lambda: None) -> None:
        self.wait = wait

    def active(self) -> AbstractContextManager[Any]:
        """In which all is allocated and run."""
        return nullcontext()

    def measure(self, loop: Loop, repeats: int) -> float:
        """Seconds a call."""
        self.wait()
        before = time.perf_counter()
        for _ in range(repeats):
            loop.run()
        self.wait()
        return (time.perf_counter() - before) / (repeats * loop.calls)

    def loop(self, calls: Sequence[Callable[[], Any]]) -> Loop:
        """All calls in a row."""
        if len(calls) == 1:
            return Loop(calls[0])

        def run() -> None:
            for call in calls:
                call()

        return Loop(run, len(calls))

    def shortened(self, loop: Loop, calls: Sequence[Callable[[], Any]], peer: bool) -> Loop:
        """The same with less overhead for each call, where the device has a way."""
        return loop

    def free(self) -> None:
        """Give back memory that is not in use."""


Clock = HostClock  # CudaClock is one too


def in_turns(
    alternatives: Mapping[str, Loop],
    clock: Clock,
    turns: int = TURNS,
    budget: float = BUDGET,
) -> dict[str, Timing]:
    """Seconds a call of each alternative, measured A B A B …"""
    repeats = {name: _repeats(loop, clock) for name, loop in alternatives.items()}
    longest = max(once * count for count, once in repeats.values())
    turns = max(3, min(turns, int(budget / max(longest, 1e-9))))
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(turns):
        for name, loop in alternatives.items():
            seconds[name].append(clock.measure(loop, repeats[name][0]))
    return {name: timing(values) for name, values in seconds.items()}


def sustained(loop: Loop, clock: Clock, once: float, seconds: float) -> float:
    """Seconds a call over `seconds` without a pause: clocks fall as the chip warms up."""
    return clock.measure(loop, max(1, round(seconds / max(once * loop.calls, 1e-9))))


def ratio(peer: Timing, ours: Timing) -> Timing:
    """The peer's time over ours, turn by turn; above 1 we are faster."""
    return timing([p / o for p, o in zip(peer.samples, ours.samples, strict=True)])


def timing(values: Sequence[float]) -> Timing:
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return Timing(statistics.median(values), low, high, tuple(values))


def _repeats(loop: Loop, clock: Clock) -> tuple[int, float]:
    """How often to run in one measurement, and how long one run takes; warms up."""
    clock.measure(loop, 1)
    once = min(clock.measure(loop, 1) for _ in range(2)) * loop.calls
    return max(1, round(SHORTEST / max(once, 1e-9))), once
