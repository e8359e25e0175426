"""Times alternatives alternately, so that a busy moment of the machine affects all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

TURNS = 15
SHORTEST = 2e-3  # seconds; shorter calls are repeated within one measurement
BUDGET = 3.0  # seconds for all turns of one alternative


class Timing(NamedTuple):
    """Seconds per call: median and quartiles of the turns, and the samples."""

    median: float
    low: float
    high: float
    samples: tuple[float, ...]

    def as_dict(self) -> dict[str, Any]:
        """The form in a report: without the samples, which nothing reads again."""
        numbers = {n: rounded(v) for n, v in self._asdict().items() if n != "samples"}
        return {**numbers, "turns": len(self.samples)}


def rounded(value: float) -> float:
    """The value to four significant digits; no measurement has more."""
    return float(f"{value:.4g}")


class Loop(NamedTuple):
    """Something to time: `run` makes `calls` calls, one per set of inputs. how: "calls", or "graph"
    if they are one launch."""

    run: Callable[[], Any]
    calls: int = 1
    how: str = "calls"


class HostClock:
    """Measures the time on the host until the work is done.

    wait: blocks until all submitted work is done (a GPU runs asynchronously).
    """

    def __init__(self, wait: Callable[[], None] = lambda: None) -> None:
        self.wait = wait

    def active(self) -> AbstractContextManager[Any]:
        """The context in which to allocate and run everything."""
        return nullcontext()

    def measure(self, loop: Loop, repeats: int) -> float:
        """Seconds per call."""
        self.wait()
        before = time.perf_counter()
        for _ in range(repeats):
            loop.run()
        self.wait()
        return (time.perf_counter() - before) / (repeats * loop.calls)

    def loop(self, calls: Sequence[Callable[[], Any]]) -> Loop:
        """A loop over all calls."""
        if len(calls) == 1:
            return Loop(calls[0])

        def run() -> None:
            for call in calls:
                call()

        return Loop(run, len(calls))

    def shortened(self, loop: Loop, calls: Sequence[Callable[[], Any]], peer: bool) -> Loop:
        """The same work with less overhead per call, if the device supports that."""
        return loop

    def free(self) -> None:
        """Release unused memory."""


Clock = HostClock  # CudaClock is one too


def in_turns(
    alternatives: Mapping[str, Loop],
    clock: Clock,
    turns: int = TURNS,
    budget: float = BUDGET,
) -> dict[str, Timing]:
    """Seconds per call of each alternative, measured A B A B …"""
    repeats = {name: _repeats(loop, clock) for name, loop in alternatives.items()}
    longest = max(once * count for count, once in repeats.values())
    turns = max(3, min(turns, int(budget / max(longest, 1e-9))))
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(turns):
        for name, loop in alternatives.items():
            seconds[name].append(clock.measure(loop, repeats[name][0]))
    return {name: timing(values) for name, values in seconds.items()}


def sustained(loop: Loop, clock: Clock, once: float, seconds: float) -> float:
    """Seconds per call over `seconds` without a pause; clocks fall as the chip warms up."""
    return clock.measure(loop, max(1, round(seconds / max(once * loop.calls, 1e-9))))


def ratio(peer: Timing, ours: Timing) -> Timing:
    """The peer's time over ours, turn by turn; above 1 we are faster."""
    return timing([p / o for p, o in zip(peer.samples, ours.samples, strict=True)])


def timing(values: Sequence[float]) -> Timing:
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return Timing(statistics.median(values), low, high, tuple(values))


def _repeats(loop: Loop, clock: Clock) -> tuple[int, float]:
    """Repetitions in one measurement, and the seconds of one run; also warms up."""
    clock.measure(loop, 1)
    once = min(clock.measure(loop, 1) for _ in range(2)) * loop.calls
    return max(1, round(SHORTEST / max(once, 1e-9))), once
