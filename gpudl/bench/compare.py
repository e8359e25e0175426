"""What changed between two reports beyond the noise."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gpudl.bench.report import geometric_mean

Key = tuple[str, ...]
RESAMPLES = 2000
LEAST = 0.02  # changes below are never called one: machines differ from run to run


class Change(NamedTuple):
    """Of one row: time after over time before, with the interval that holds 95 % of resamples."""

    key: Key
    factor: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """ "slower", "faster" or "" where it may be noise."""
        if self.low > 1 and self.factor > 1 + LEAST:
            return "slower"
        if self.high < 1 and self.factor < 1 / (1 + LEAST):
            return "faster"
        return ""


def key(row: Mapping[str, Any]) -> Key:
    """What makes two rows the same. The chosen algorithm may change, one asked for may not."""
    algorithm = "" if row.get("chosen", True) else row["algorithm"]
    fields = (row[n] for n in ("suite", "name", "direction", "dtype"))
    return (*fields, row.get("precision", ""), algorithm)


def check_same_device(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """ValueError where times would compare machines instead of programs."""
    a, b = before["environment"], after["environment"]
    for name in ("device", "hardware", "cores"):
        if a.get(name) != b.get(name):
            raise ValueError(
                f"the reports are of different devices: {name} is {a.get(name)!r} and "
                f"{b.get(name)!r}; --any-device compares them all the same"
            )
    threads = before["settings"]["threads"], after["settings"]["threads"]
    if threads[0] != threads[1]:
        raise ValueError(
            f"the reports used {threads[0]} and {threads[1]} threads; --any-device compares them"
        )


def changes(
    before: Mapping[str, Any], after: Mapping[str, Any], by: str | None = None
) -> list[Change]:
    """Of the rows that both have, the worst first.

    by: "time", or "ratio" to the peer, which cancels how fast the machine was that day. Without it
    the ratio on CPUs, the time on GPUs.
    """
    old = {key(row): row for row in before["rows"]}
    by = by or ("time" if str(after["environment"]["device"]).startswith("cuda") else "ratio")
    found = []
    for row in after["rows"]:
        if earlier := old.get(key(row)):
            both = "torch" in earlier["seconds"] and "torch" in row["seconds"]
            samples = [measured(r, by if both else "time") for r in (earlier, row)]
            found.append(Change(key(row), *interval(*samples)))
    return sorted(found, key=lambda c: -c.factor)


def measured(row: Mapping[str, Any], by: str) -> list[float]:
    """Samples of our time, or of our time over the peer's in the same turn."""
    seconds = row["seconds"]
    ours: list[float] = seconds["gpudl"]["samples"]
    if by == "time":
        return ours
    return [o / p for o, p in zip(ours, seconds["torch"]["samples"], strict=False)]


def interval(before: Sequence[float], after: Sequence[float]) -> tuple[float, float, float]:
    """Ratio of the medians, and its 95 % interval by the percentile bootstrap (Efron 1979)."""
    rng = random.Random(0)
    factor = statistics.median(after) / statistics.median(before)
    drawn = sorted(
        statistics.median(rng.choices(after, k=len(after)))
        / statistics.median(rng.choices(before, k=len(before)))
        for _ in range(RESAMPLES)
    )
    return factor, drawn[int(0.025 * RESAMPLES)], drawn[int(0.975 * RESAMPLES) - 1]


def missing(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[Key], list[Key]]:
    """Rows that only the first has, and only the second."""
    old, new = ({key(row): None for row in r["rows"]} for r in (before, after))
    return [k for k in old if k not in new], [k for k in new if k not in old]


def text(found: Sequence[Change], gone: Sequence[Key], added: Sequence[Key]) -> str:
    return "\n".join(_lines(found, gone, added))


def _lines(found: Sequence[Change], gone: Sequence[Key], added: Sequence[Key]) -> Iterator[str]:
    told = [c for c in found if c.verdict]
    for c in told:
        yield (
            f"{c.verdict}  {c.factor:6.3f}  ({c.low:.3f}–{c.high:.3f})  "
            f"{' '.join(filter(None, c.key))}"
        )
    if found:
        mean = geometric_mean(c.factor for c in found)
        slower = sum(c.verdict == "slower" for c in told)
        yield (
            f"{len(found)} rows compared: {slower} slower, {len(told) - slower} faster, the others "
            f"within the noise; geometric mean of the factors {mean:.3f}"
        )
    else:
        yield "no row is in both reports"
    for name, keys in (("only before", gone), ("only after", added)):
        if keys:
            shown = "; ".join(" ".join(filter(None, k)) for k in keys[:5])
            yield f"{name}: {len(keys)} ({shown}{'; …' if len(keys) > 5 else ''})"
