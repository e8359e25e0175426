"""The output of a training run: a progress bar in a terminal, and a table with a row per epoch."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any, TextIO

from gpudl.core.terminal import columns
from gpudl.train.callback import Callback
from gpudl.train.epochs import COLUMNS, Row, header, line

REDRAW = 0.1  # seconds


class Progress(Callback):
    """A tqdm bar with loss, accuracy and images/s in a terminal; elsewhere only the table.

    Both count in the unit of the objective.
    """

    def __init__(self, stream: TextIO | None = None, bar: bool | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream
        self.show_bar = self.stream.isatty() if bar is None else bar
        self.epochs = 0
        self._columns: tuple[str, ...] = ()  # of the latest header, before some are left out
        self._bar: Any = None
        self._drawn_at = 0.0

    def on_fit_begin(self, trainer: Any, epochs: int) -> None:
        self.epochs = epochs
        self._columns = ()

    def _print_header(self, names: Iterable[str], unit: str) -> None:
        self._columns = tuple(names)
        self._print(header(self._columns, self.epochs, unit, columns(self.stream)))

    def on_epoch_begin(self, trainer: Any) -> None:
        if not self.show_bar:
            return
        from tqdm import tqdm

        self._bar = tqdm(
            total=len(trainer.train),
            initial=trainer.train.state_dict()["batch"],
            desc=f"epoch {trainer.epoch + 1}/{self.epochs}",
            unit="batch",
            file=self.stream,
            leave=False,
            dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} "
            "[{remaining}{postfix}]",
        )

    def on_step_end(self, trainer: Any) -> None:
        if not self._columns and trainer.totals.correct is not None:
            self._print_header(COLUMNS, trainer.objective.unit)
        if self._bar is None:
            return
        self._bar.update()
        now = time.monotonic()
        totals = trainer.totals
        if now - self._drawn_at > REDRAW and totals.images and totals.seconds:
            self._drawn_at = now
            right = totals.correct
            accuracy = "" if right is None else f"accuracy {right / totals.images:.4f}, "
            self._bar.set_postfix_str(
                f"loss {totals.loss / totals.images:.4f}, "
                f"{accuracy}"
                f"{totals.images / totals.seconds:,.0f} {trainer.objective.unit}/s"
            )

    def on_epoch_end(self, trainer: Any, row: Row) -> None:
        self.close()
        # Some columns are known only after the first epoch.
        if [c for c in row.columns() if c != "step"] != [c for c in self._columns if c != "step"]:
            self._print_header(row.columns(), trainer.objective.unit)
        self._print(line(row, self.epochs, trainer.objective.unit, columns(self.stream)))

    def on_fit_end(self, trainer: Any) -> None:
        if trainer.stop_reason:
            self._print(f"stopped early: {trainer.stop_reason}")

    def close(self) -> None:
        """Remove the bar from the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _print(self, text: str) -> None:
        if self._bar is None:
            print(text, file=self.stream, flush=True)
        else:
            self._bar.write(text, file=self.stream)  # above the bar
