"""What a training shows: a bar while it goes on in a terminal, and one line of a table per
epoch."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from gpudl.train.callbacks import Callback

if TYPE_CHECKING:
    from gpudl.train.trainer import Row, Trainer

REDRAW = 0.1  # seconds
COLUMNS = ("epoch", "loss", "accuracy", "test loss", "test accuracy", "lr", "images/s", "seconds")


class Progress(Callback):
    """A tqdm bar with loss, accuracy and images/s in a terminal; elsewhere the table alone."""

    def __init__(self, stream: TextIO | None = None, bar: bool | None = None) -> None:
        self.stream = sys.stdout if stream is None else stream
        self.show_bar = self.stream.isatty() if bar is None else bar
        self.epochs = 0
        self._bar: Any = None
        self._shown = 0.0

    def on_fit_begin(self, trainer: Trainer, epochs: int) -> None:
        self.epochs = epochs
        if trainer.epoch < epochs:
            self._print(header())

    def on_epoch_begin(self, trainer: Trainer) -> None:
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

    def on_step_end(self, trainer: Trainer) -> None:
        if self._bar is None:
            return
        self._bar.update()
        now = time.monotonic()
        totals = trainer.totals
        if now - self._shown > REDRAW and totals.images and totals.seconds:
            self._shown = now
            self._bar.set_postfix_str(
                f"loss {totals.loss / totals.images:.4f}, "
                f"accuracy {totals.correct / totals.images:.4f}, "
                f"{totals.images / totals.seconds:,.0f} images/s"
            )

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        self.close()
        self._print(line(row, self.epochs))

    def on_fit_end(self, trainer: Trainer) -> None:
        if trainer.stop_reason:
            self._print(f"stopped early: {trainer.stop_reason}")

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _print(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


def header() -> str:
    return "  ".join(f"{name:>{_width(name)}}" for name in COLUMNS)


def line(row: Row, epochs: int) -> str:
    """One epoch under `header()`."""
    cells = (
        f"{row.epoch}/{epochs}",
        f"{row.loss:.4f}",
        f"{row.accuracy:.4f}",
        "" if math.isnan(row.test_loss) else f"{row.test_loss:.4f}",
        "" if math.isnan(row.test_accuracy) else f"{row.test_accuracy:.4f}",
        f"{row.lr:.2e}",
        f"{row.images_per_second:,.0f}",
        f"{row.seconds:.1f}",
    )
    return "  ".join(f"{c:>{_width(n)}}" for n, c in zip(COLUMNS, cells, strict=True))


def _width(column: str) -> int:
    return max(len(column), 8)
