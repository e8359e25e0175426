"""The results of one epoch, and the table that shows them line by line."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field

COLUMNS = (
    "epoch",
    "loss",
    "accuracy",
    "test_loss",
    "test_accuracy",
    "lr",
    "images_per_second",
    "seconds",
)
GAP = "  "
FORMATS = {"lr": ".2e", "images_per_second": ",.0f", "seconds": ".1f"}


@dataclass(frozen=True)
class Row:
    """One epoch of a history. Losses are means over all images; images per second and seconds
    exclude evaluation. lr: that of the epoch's last step. Accuracies are NaN if not counted.
    others: further means by name, with the prefix test_ for those on the test part."""

    epoch: int
    step: int
    loss: float
    accuracy: float
    test_loss: float
    test_accuracy: float
    lr: float
    images_per_second: float
    seconds: float
    others: dict[str, float] = field(default_factory=dict)

    @property
    def has_accuracy(self) -> bool:
        return not (math.isnan(self.accuracy) and math.isnan(self.test_accuracy))

    def columns(self) -> dict[str, float]:
        """All values by name, in the order of a table; accuracies that were not counted are left
        out."""
        values = asdict(self)
        others = values.pop("others")
        if math.isnan(self.accuracy):
            del values["accuracy"]
        if not self.has_accuracy:
            del values["test_accuracy"]
        last = {name: values.pop(name) for name in ("lr", "images_per_second", "seconds")}
        return {**values, **others, **last}


def header(
    names: Iterable[str], epochs: int, unit: str = "images", width: int | None = None
) -> str:
    """The header of a table of `Row.columns`.

    width: of the terminal; the columns at the right that do not fit are left out.
    """
    widths = _widths(names, epochs, unit, width)
    return GAP.join(f"{_heading(name, unit):>{widths[name]}}" for name in widths)


def line(row: Row, epochs: int, unit: str = "images", width: int | None = None) -> str:
    """The line for an epoch under `header()`."""
    values = row.columns()
    widths = _widths(values, epochs, unit, width)
    return GAP.join(f"{_text(name, values[name], epochs):>{widths[name]}}" for name in widths)


def _widths(names: Iterable[str], epochs: int, unit: str, most: int | None) -> dict[str, int]:
    """The width of each column that fits into `most` columns of the terminal; the first two always
    do."""
    least = {"epoch": len(f"{epochs}/{epochs}"), "lr": 8}
    widths: dict[str, int] = {}
    for name in names:
        if name == "step":
            continue
        widths[name] = max(len(_heading(name, unit)), least.get(name, 7))
        total = sum(widths.values()) + len(GAP) * (len(widths) - 1)
        if most is not None and len(widths) > 2 and total > most:
            del widths[name]
            break
    return widths


def _text(name: str, value: float, epochs: int) -> str:
    if name == "epoch":
        return f"{value}/{epochs}"
    if math.isnan(value) and name not in FORMATS:
        return ""
    return format(value, FORMATS.get(name, ".4f"))


def _heading(column: str, unit: str) -> str:
    return f"{unit}/s" if column == "images_per_second" else column.replace("_", " ")
