"""Compares two reports and tells changes from noise."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gpudl.bench import report

Key = tuple[str, ...]
Numbers = Mapping[str, float]  # median, low, high (quartiles), turns
NORMAL_95 = 1.96  # 95 % of a normal distribution is within this many standard deviations
LEAST = 0.02  # smaller changes never count, because a machine varies between runs


class Change(NamedTuple):
    """Change of one row: time after over time before, with its 95 % interval."""

    key: Key
    factor: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """ "slower", "faster", or "" if it may be noise."""
        if self.low > 1 and self.factor > 1 + LEAST:
            return "slower"
        if self.high < 1 and self.factor < 1 / (1 + LEAST):
            return "faster"
        return ""


def read(path: Path) -> dict[str, Any]:
    """A report whose rows can be compared. Raises ValueError, which names the file, for another."""
    content = report.read(path)
    try:
        check_same_device(content, content)
        for by in (None, "time", "ratio"):
            text(changes(content, content, by), [key(row) for row in content["rows"]], [])
    except report.MALFORMED as error:
        raise report.damaged(path, error) from None
    return content


def key(row: Mapping[str, Any]) -> Key:
    """Identifies a row. The algorithm is part of it only if the user asked for it."""
    algorithm = "" if row.get("chosen", True) else row["algorithm"]
    fields = (row[n] for n in ("suite", "name", "direction", "dtype"))
    return (*fields, row.get("precision", ""), algorithm)


def check_same_device(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    """Raises ValueError if the reports differ in device, hardware or threads."""
    a, b = before["environment"], after["environment"]
    for name in ("device", "hardware", "cores"):
        if a.get(name) != b.get(name):
            raise ValueError(
                f"the reports are of different devices: {name} is {a.get(name)!r} and "
                f"{b.get(name)!r}; --any-device compares them anyway"
            )
    threads = before["settings"]["threads"], after["settings"]["threads"]
    if threads[0] != threads[1]:
        raise ValueError(
            f"the reports used {threads[0]} and {threads[1]} threads; --any-device compares them "
            "anyway"
        )


def changes(
    before: Mapping[str, Any], after: Mapping[str, Any], by: str | None = None
) -> list[Change]:
    """Changes of the rows in both reports, worst first.

    by: "time", or "ratio" to the peer, which cancels how fast the machine was that day. Default:
    "ratio" on CPUs, "time" on GPUs.
    """
    old = {key(row): row for row in before["rows"]}
    by = by or ("time" if str(after["environment"]["device"]).startswith("cuda") else "ratio")
    result = []
    for row in after["rows"]:
        if earlier := old.get(key(row)):
            same_peer = "peer" in row and earlier.get("peer") == row["peer"]
            change = by_ratio if by == "ratio" and same_peer else by_time
            result.append(Change(key(row), *change(earlier, row)))
    return sorted(result, key=lambda c: -c.factor)


def by_time(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, float, float]:
    return interval(before["seconds"]["gpudl"], after["seconds"]["gpudl"])


def by_ratio(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[float, float, float]:
    """The ratio is the peer's time over ours, so it falls if we became slower."""
    return interval(after["ratio"], before["ratio"])


def interval(before: Numbers, after: Numbers) -> tuple[float, float, float]:
    """Ratio of the medians `after` over `before`, and its 95 % interval.

    Computed on a logarithmic scale, on which a ratio is a difference. The errors of the two medians
    count as independent, upward and downward separately.
    """
    factor = after["median"] / before["median"]
    up = math.hypot(error(after, "high"), error(before, "low"))
    down = math.hypot(error(after, "low"), error(before, "high"))
    return factor, factor / math.exp(NORMAL_95 * down), factor * math.exp(NORMAL_95 * up)


def error(numbers: Numbers, quartile: str) -> float:
    """Standard deviation of the logarithm of a median on one side, from the quartile on that side:
    1.25 / 1.35 times the interquartile range over the root of the count (McGill, Tukey and Larsen
    1978)."""
    spread = 2 * abs(math.log(numbers[quartile] / numbers["median"]))
    return 1.25 / 1.35 * spread / math.sqrt(numbers["turns"])


def missing(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[Key], list[Key]]:
    """Keys of the rows only in `before`, and only in `after`."""
    old, new = ({key(row): None for row in r["rows"]} for r in (before, after))
    return [k for k in old if k not in new], [k for k in new if k not in old]


def text(compared: Sequence[Change], gone: Sequence[Key], added: Sequence[Key]) -> str:
    return "\n".join(_lines(compared, gone, added))


def _lines(compared: Sequence[Change], gone: Sequence[Key], added: Sequence[Key]) -> Iterator[str]:
    changed = [c for c in compared if c.verdict]
    for c in changed:
        yield (
            f"{c.verdict}  {c.factor:6.3f}  ({c.low:.3f}–{c.high:.3f})  "
            f"{' '.join(filter(None, c.key))}"
        )
    if compared:
        mean = report.geometric_mean(c.factor for c in compared)
        slower = sum(c.verdict == "slower" for c in changed)
        yield (
            f"{len(compared)} rows compared: {slower} slower, {len(changed) - slower} faster, "
            f"the rest within the noise; geometric mean of the factors {mean:.3f}"
        )
    else:
        yield "no row is in both reports"
    for name, keys in (("only before", gone), ("only after", added)):
        if keys:
            names = [" ".join(filter(None, k)) for k in keys]
            shown = "; ".join(names[:5])
            yield f"{name}: {len(keys)} ({shown}{'; …' if len(keys) > 5 else ''})"
