"""Callbacks of the training loop: history, checkpoints, schedules, early stopping."""

from __future__ import annotations

import csv
import io
import math
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpudl.core.files import write_text
from gpudl.train.callback import Callback
from gpudl.train.checkpoint import save_state
from gpudl.train.epochs import Row
from gpudl.train.errors import StoppedError
from gpudl.train.trainer import Trainer


class CSVLogger(Callback):
    """Keeps the rows of all epochs in a CSV file, each epoch once even after a resumption."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_fit_begin(self, trainer: Trainer, epochs: int) -> None:
        if trainer.history:
            self._write(trainer)

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        rows = [row.columns() for row in trainer.history]
        text = io.StringIO()
        names = dict.fromkeys(name for row in rows for name in row)  # some may lack an accuracy
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path, text.getvalue())


class Checkpoint(Callback):
    """Saves the trainer's state after each epoch and, within an epoch, every `seconds`.

    It must come after the callbacks whose state it saves. Saving more or less often does not change
    the results. Weights that are not finite are never saved: after a DivergedError the last good
    file remains.
    """

    def __init__(self, path: Path, seconds: float = 20.0) -> None:
        self.path, self.seconds = path, seconds
        self._due = math.inf

    def on_fit_begin(self, trainer: Trainer, epochs: int) -> None:
        self._due = time.monotonic() + self.seconds

    def on_step_end(self, trainer: Trainer) -> None:
        if time.monotonic() >= self._due:
            self.save(trainer)

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        state = trainer.state_dict()
        trainer.check_finite()
        save_state(self.path, state)
        self._due = time.monotonic() + self.seconds


class Schedule(Callback):
    """Advances a schedule of gpudl.optim after every optimizer step or every epoch.

    metric: the column of the history passed to the schedule, for those that detect a plateau.
    """

    def __init__(self, schedule: Any, every: str = "step", metric: str | None = None) -> None:
        if every not in ("step", "epoch") or (metric and every != "epoch"):
            raise ValueError(
                f"Schedule: every: {every!r}, expected 'step' or 'epoch'; a metric needs 'epoch'"
            )
        self.schedule, self.every, self.metric = schedule, every, metric

    def on_step_end(self, trainer: Trainer) -> None:
        if self.every == "step":
            self.schedule.step()

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        if self.every == "epoch":
            self.schedule.step(*([_watched(trainer, row, self.metric)] if self.metric else []))

    def state_dict(self) -> dict[str, Any]:
        return dict(self.schedule.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.schedule.load_state_dict(state)


def _watched(trainer: Trainer, row: Row, metric: str) -> float:
    """A column of the history by name; without a test part, the training part's column."""
    name = metric.removeprefix("test_") if trainer.test is None else metric
    columns = row.columns()
    if name not in columns:
        raise ValueError(f"metric is {metric!r}; it must be one of {', '.join(columns)}")
    value = float(columns[name])
    if math.isnan(value):
        warnings.warn(
            f"{name} is NaN in epoch {row.epoch}; this counts as no improvement", stacklevel=2
        )
    return value


class EarlyStopping(Callback):
    """Ends training when `metric` has not fallen (with mode "max", risen) for `patience` epochs.

    metric: a column of the history; without a test part, "test_loss" means the training loss. NaN
    counts as no improvement and gives a warning.
    """

    def __init__(self, patience: int, metric: str = "test_loss", mode: str = "min") -> None:
        if patience < 1 or mode not in ("min", "max"):
            raise ValueError(
                f"EarlyStopping: patience {patience}, mode {mode!r}: "
                "expected 1 or more, and 'min' or 'max'"
            )
        self.patience, self.metric, self.sign = patience, metric, 1 if mode == "min" else -1
        self.best = math.inf
        self.waited = 0

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        value = self.sign * _watched(trainer, row, self.metric)
        if value < self.best:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop_reason = (
                f"{self.metric} has not improved for {self.patience} "
                f"epoch{'s' if self.patience > 1 else ''}"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.waited = float(state["best"]), int(state["waited"])


class StopRequest(Callback):
    """Ends training between two steps once `request` is called, for example by a signal handler.

    Saves the state with `checkpoint`, then raises StoppedError.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.reason: str | None = None

    def request(self, reason: str) -> None:
        self.reason = reason

    def on_step_end(self, trainer: Trainer) -> None:
        if self.reason is not None:
            self.checkpoint.save(trainer)
            raise StoppedError(self.reason)

    on_evaluation_step = on_step_end
