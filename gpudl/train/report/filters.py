"""Draws the filters of the first layer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.train.checkpoint import to_numpy
from gpudl.train.report.figure import Cell, cells, figure, top_of

MOST = 64  # filters shown
Floats = npt.NDArray[np.floating[Any]]


def first_filters(model: Any, input_shape: tuple[int, ...]) -> Floats | None:
    """Weights (K, C, R, S) of the first layer, a convolution or a linear layer (reshaped to the
    input).

    None if the first layer is neither, or the input is not an image (C, H, W).
    """
    if len(input_shape) != 3:
        return None
    for name, parameter in model.named_parameters():
        weight: Floats = to_numpy(parameter)
        if not name.endswith("weight"):
            continue
        if weight.ndim == 4:
            return weight
        if weight.ndim == 2 and weight.shape[1] == math.prod(input_shape):
            return weight.reshape(-1, *input_shape)
    return None


def draw_filters(path: Path, filters: Floats, title: str) -> None:
    """A grid of filters (K, C, R, S): in colour if C is 3, otherwise the mean over the channels."""
    shown = filters[:MOST]
    columns = min(len(shown), 8)
    rows = -(-len(shown) // columns)
    limit = float(np.abs(shown).max()) or 1.0
    with figure(path, max(1.2 * columns, 5.0) + 0.8, 1.35 * rows + 0.9) as fig:
        note = "" if len(shown) == len(filters) else f" (the first {MOST} of {len(filters)})"
        fig.suptitle(title + note, x=0.01, ha="left", fontsize=12)
        axes = fig.subplots()
        image = None
        for number, (cell, weight) in enumerate(
            zip(cells(axes, rows, columns), shown, strict=False)
        ):
            image = _draw(axes, weight, limit, cell)
            axes.text(*top_of(cell), str(number), ha="center", va="bottom", fontsize=8)
        if image is not None:
            bar = fig.colorbar(image, ax=axes, shrink=0.8, aspect=20)
            bar.outline.set_visible(False)
            bar.ax.grid(False)


def _draw(axes: Any, weight: Floats, limit: float, cell: Cell) -> Any:
    """Draws one filter. Returns the mappable for a colour bar; None for a filter in colour."""
    if len(weight) == 3:
        axes.imshow(np.clip(weight.transpose(1, 2, 0) / (2 * limit) + 0.5, 0, 1), extent=cell)
        return None
    return axes.imshow(weight.mean(axis=0), cmap="RdBu_r", vmin=-limit, vmax=limit, extent=cell)
