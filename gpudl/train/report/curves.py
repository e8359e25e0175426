"""Draws loss, accuracy and learning rate over the epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpudl.train.epochs import Row
from gpudl.train.report.figure import BLUE, GREEN, ORANGE, figure

ZOOM = 0.9  # above this accuracy the axis shows only the upper end


def draw_curves(path: Path | None, history: Sequence[Row], title: str) -> Any:
    """Three panels: loss (logarithmic if positive), accuracy and learning rate; two if there is no
    accuracy. Returns the figure."""
    epochs = [row.epoch for row in history]
    has_accuracy = all(row.has_accuracy for row in history)
    with figure(path, 12 if has_accuracy else 7.7, 3.8) as fig:
        fig.suptitle(title, x=0.01, ha="left", fontsize=12)
        panels = fig.subplots(
            1, 2 + has_accuracy, width_ratios=(4, 4, 2.4) if has_accuracy else (4, 2.4)
        )
        loss, rate = panels[0], panels[-1]
        _pair(loss, epochs, [r.loss for r in history], [r.test_loss for r in history])
        loss.set(title="Loss", xlabel="epoch")
        if all(row.loss > 0 and not row.test_loss <= 0 for row in history):
            loss.set_yscale("log")
        if has_accuracy:
            _draw_accuracy(panels[1], history)
        rate.plot(epochs, [row.lr for row in history], color=GREEN, marker=_marker(epochs))
        rate.set(title="Learning rate", xlabel="epoch")
        rate.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        for axes in panels:
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            axes.set_xlim(0.5, max(epochs) + 0.5)
        loss.legend()
    return fig


def _draw_accuracy(axes: Any, history: Sequence[Row]) -> None:
    epochs = [row.epoch for row in history]
    tested = [row.test_accuracy for row in history]
    _pair(axes, epochs, [row.accuracy for row in history], tested)
    axes.set(title="Accuracy", xlabel="epoch")
    _mark_last(axes, epochs, tested)


def _pair(axes: Any, epochs: Sequence[int], train: Sequence[float], test: Sequence[float]) -> None:
    marker = _marker(epochs)
    for values, color, label in ((train, BLUE, "training"), (test, ORANGE, "test")):
        if not any(map(math.isnan, values)):
            axes.plot(epochs, values, color=color, marker=marker, label=label)


def _mark_last(axes: Any, epochs: Sequence[int], tested: Sequence[float]) -> None:
    last = tested[-1]
    if math.isnan(last):
        return
    if last > ZOOM:
        axes.set_ylim(max(min(tested[len(tested) // 4 :]) - 0.03, 0), 1.003)
    axes.annotate(
        f"{last:.2%}",
        (epochs[-1], last),
        xytext=(-4, -22),
        textcoords="offset points",
        ha="right",
        color=ORANGE,
        fontweight="bold",
    )


def _marker(epochs: Sequence[int]) -> str:
    return "o" if len(epochs) < 15 else ""
