"""Draws confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.train.report.figure import figure

MOST_NAMES = 100  # with more classes, only some have their names beside the picture
MOST_NUMBERS = 30  # classes: with more, the numbers would be too small to read


def draw_confusion(
    path: Path, matrix: npt.NDArray[np.int64], classes: Sequence[str], title: str
) -> None:
    """Counts by true class (rows) and predicted class (columns); colours are shares of the row."""
    count = len(matrix)
    side = min(max(5.0, 0.55 * count + 2), 16)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    with figure(path, side + 0.6, side) as fig:
        axes = fig.subplots()
        # Mistakes are rare: the square root makes one in a hundred visible.
        axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1.15)
        axes.set(title=title, xlabel="predicted", ylabel="true")
        long = max(map(len, classes), default=0) > 3
        step = -(-count // MOST_NAMES)
        shown, names = range(0, count, step), classes[::step]
        axes.set_xticks(shown, names, rotation=45 if long else 0, ha="right" if long else "center")
        axes.set_yticks(shown, names)
        axes.grid(False)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        if count <= MOST_NUMBERS:
            _write_counts(axes, matrix, shares)


def _write_counts(
    axes: Any, matrix: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]
) -> None:
    for row, column in zip(*np.nonzero(matrix), strict=True):
        right = row == column
        axes.text(
            column,
            row,
            f"{matrix[row, column]}",
            ha="center",
            va="center",
            fontsize=9,
            color="white" if shares[row, column] > 0.4 else "#c0392b" if not right else "black",
            fontweight="normal" if right else "bold",
        )
