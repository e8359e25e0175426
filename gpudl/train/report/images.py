"""Draws images with a model's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.train.report.figure import BLUE, GREEN, GREY, RED, Cell, bare, cells, figure, top_of

MOST = 48  # mistakes shown
BARS = 10  # classes shown per prediction
Images = npt.NDArray[Any]
Floats = npt.NDArray[np.floating[Any]]


def draw_mistakes(
    path: Path,
    images: Images,
    labels: npt.NDArray[np.int64],
    probabilities: Floats,
    classes: Sequence[str],
    title: str,
) -> None:
    """The misread images (N, C, H, W), each with label, prediction and its probability.

    Only the first MOST are shown, so pass the most confident mistakes first.
    """
    shown = min(len(images), MOST)
    columns = min(max(shown, 4), 8)
    rows = max(-(-shown // columns), 1)
    long = max(map(len, classes), default=0) > 4
    with figure(path, 1.5 * columns, 1.9 * rows + 0.55) as fig:
        note = f", the {MOST} most confident" if len(images) > MOST else ""
        fig.suptitle(title + note, x=0.01, ha="left", fontsize=12)
        axes = fig.subplots()
        for number, cell in enumerate(cells(axes, rows, columns, aspect=1.3)[:shown]):
            show_image(axes, images[number], cell)
            guess = int(probabilities[number].argmax())
            caption, middle = f"{classes[guess]}, not {classes[labels[number]]}", top_of(cell)[0]
            size = 10 if not long else 6.5
            axes.text(*top_of(cell), caption, color=RED, ha="center", va="bottom", fontsize=size,
                      fontweight="bold")  # fmt: skip
            sure = f"{probabilities[number, guess]:.0%} sure"
            axes.text(middle, cell[2] - 0.02, sure, color=GREY, ha="center", va="top", fontsize=8)
        if not shown:
            axes.text(0, -0.5, "none", color=GREEN, fontsize=14)


def draw_prediction(
    path: Path,
    original: Images,
    seen: Images,
    probabilities: Floats,
    classes: Sequence[str],
    name: str,
) -> None:
    """The original image (H, W[, 3]), the model's input (C, H, W), and the class probabilities."""
    order = np.argsort(-probabilities, kind="stable")[:BARS]
    if len(probabilities) <= BARS:
        order = np.arange(len(probabilities))
    best = int(probabilities.argmax())
    with figure(path, 9.5, 3.4) as fig:
        left, middle, right = fig.subplots(1, 3, width_ratios=(3, 3, 4))
        for axes in (left, middle):
            bare(axes)
        left.imshow(original, cmap="gray", vmin=0, vmax=255)
        left.set_title(name if len(name) < 32 else f"…{name[-30:]}", fontweight="normal")
        show_image(middle, seen)
        middle.set_title("as the model sees it", fontweight="normal")
        colours = [BLUE if number == best else "#b8c4d6" for number in order]
        right.barh(range(len(order)), probabilities[order], color=colours)
        right.set_yticks(range(len(order)), [classes[number] for number in order])
        right.invert_yaxis()
        right.set_xlim(0, 1.18)
        right.set_xticks((0, 0.5, 1), ("0 %", "50 %", "100 %"))
        right.grid(False, axis="y")
        right.set_title(f"{classes[best]}, {probabilities[best]:.1%} sure")
        for bar, number in enumerate(order):
            if probabilities[number] >= 0.005:
                right.text(
                    probabilities[number] + 0.01,
                    bar,
                    f"{probabilities[number]:.1%}",
                    va="center",
                    fontsize=8,
                )


def draw_grid(path: Path, rows: Sequence[Images], names: Sequence[str], title: str) -> None:
    """Rows of images (N, C, H, W) with the rows' names; without names, one set of images in rows of
    eight."""
    if not names:
        rows = [rows[0][start : start + 8] for start in range(0, len(rows[0]), 8)]
    columns = max(map(len, rows))
    with figure(path, 0.75 * columns + 1, 0.8 * len(rows) + 0.6) as fig:
        fig.suptitle(title, x=0.01, ha="left", fontsize=12)
        axes = fig.subplots()
        places = cells(axes, len(rows), columns)
        for number, row in enumerate(rows):
            first = number * columns
            for image, cell in zip(row, places[first : first + columns], strict=False):
                show_image(axes, image, cell)
            if names:
                left, _, bottom, top = places[first]
                middle = (bottom + top) / 2
                axes.text(left - 0.1, middle, names[number], ha="right", va="center", fontsize=8)
        if names:
            axes.set_xlim(left=-0.2 - 0.12 * max(map(len, names)))


def show_image(axes: Any, image: Images, cell: Cell | None = None) -> None:
    """Draws an image (C, H, W), uint8 or float in [0, 1]; in a cell of the axes if one is given."""
    values = image / np.float32(255) if image.dtype == np.uint8 else image
    if len(values) == 3:
        axes.imshow(np.clip(values.transpose(1, 2, 0), 0, 1), extent=cell)
    else:
        axes.imshow(values[0], cmap="gray", vmin=0, vmax=1, extent=cell)
