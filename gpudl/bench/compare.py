"""What changed between two reports beyond the noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gpudl.bench.report import geometric_mean

Key = tuple[str, ...]
Numbers = Mapping[str, float]  # median, low, high (quartiles), turns
NORMAL_95 = 1.96  # standard deviations on either side that hold 95 %
LEAST = 0.02  # changes below are never called one: machines differ from run to run


class Change(NamedTuple):
    """Of one row: time after over time before, with its 95 % interval."""

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
            same_peer = "peer" in row and earlier.get("peer") == row["peer"]
            change = by_ratio if by == "ratio" and same_peer else by_time
            found.append(Change(key(row), *change(earlier, row)))
    return sorted(found, key=lambda c: -c.factor)


def by_time(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, float, float]:
    return interval(before["seconds"]["gpudl"], after["seconds"]["gpudl"])


def by_ratio(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, float, float]:
    """The ratio is the peer's time over ours, so it falls where we became slower."""
    return interval(after["ratio"], before["ratio"])


def interval(before: Numbers, after: Numbers) -> tuple[float, float, float]:
    """Ratio of the medians `after` over `before`, and its 95 % interval.

    On a logarithmic scale, where errors of a ratio add up: those of either side as independent
    ones, upward and downward apart.
    """
    factor = after["median"] / before["median"]
    up = math.hypot(error(after, "high"), error(before, "low"))
    down = math.hypot(error(after, "low"), error(before, "high"))
    return factor, factor / math.exp(NORMAL_95 * down), factor * math.exp(NORMAL_95 * up)


def error(numbers: Numbers, quartile: str) -> float:
    """Standard deviation of a median's logarithm on one side, from the quartile there: 1.25 / 1.35
    of the distance of the quartiles over the root of the count (McGill, Tukey and Larsen 1978)."""
    distance = 2 * abs(math.log(numbers[quartile] / numbers["median"]))
    return 1.25 / 1.35 * distance / math.sqrt(numbers["turns"])


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
