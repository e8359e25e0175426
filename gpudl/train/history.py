"""The history of a training: a list of epochs that shows itself as a table and as curves."""

from __future__ import annotations

import base64
import io
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gpudl.core.terminal import columns
from gpudl.train.epochs import Row, header, line
from gpudl.train.errors import TrainingError


class History(list[Row]):
    """The rows of all epochs, first to last. Printed, it is a table; in a notebook, a table with
    curves.

    >>> history = trainer.fit(epochs=5)
    >>> history[-1].test_accuracy
    0.9861
    >>> history.plot("curves.png")
    """

    def __init__(self, rows: Iterable[Row] = ()) -> None:
        super().__init__(rows)

    def __repr__(self) -> str:
        if not self:
            return "History()"
        width = columns(sys.stdout)
        names, epochs = self[-1].columns(), self[-1].epoch
        return "\n".join(
            [header(names, epochs, width=width), *(line(r, epochs, width=width) for r in self)]
        )

    def _repr_html_(self) -> str:
        text = f"<pre>{self!r}</pre>"
        try:
            picture = io.BytesIO()
            self.plot().savefig(picture, format="png")
        except (TrainingError, ValueError):  # no Matplotlib, or no epochs
            return text
        encoded = base64.b64encode(picture.getvalue()).decode()
        return f'{text}<img src="data:image/png;base64,{encoded}" alt="curves">'

    def plot(self, path: str | os.PathLike[str] | None = None, title: str = "") -> Any:
        """The curves of loss, accuracy and learning rate as a Matplotlib figure; also written to
        `path` if one is given.

        Raises TrainingError without Matplotlib, ValueError without epochs.
        """
        from gpudl.train.report.curves import draw_curves

        if not self:
            raise ValueError("History.plot: there are no epochs yet; call fit first")
        return draw_curves(None if path is None else Path(path), self, title)
