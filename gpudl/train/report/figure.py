"""The style of all pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpudl.core.files import replacing
from gpudl.train.errors import TrainingError

BLUE, ORANGE, GREEN, RED, GREY = "#1f5fa8", "#d9730d", "#2a8a4a", "#c0392b", "#6b7280"
STYLE: Any = {
    "font.size": 10,
    "font.family": "DejaVu Sans",  # comes with Matplotlib, so pictures look the same everywhere
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 120,
}


@contextmanager
def figure(path: Path | None, width: float, height: float, **options: Any) -> Iterator[Any]:
    """A figure of width by height inches to draw on, written to `path` at the end if there is one.

    Raises TrainingError without Matplotlib.
    """
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        name = path.name if path else "a picture"
        raise TrainingError(
            f"{name} needs Matplotlib, which is not installed; pip install 'gpudl[train]'"
        ) from None
    with mpl.rc_context(STYLE):
        fig = Figure(figsize=(width, height), layout="constrained", **options)
        FigureCanvasAgg(fig)
        yield fig
        _show_names(fig)
        if path is None:
            return
        with replacing(path) as part:
            # Without the software's version, so that the same run writes the same file.
            fig.savefig(part, metadata={"Software": None})


def _show_names(fig: Any) -> None:
    """Makes names such as $5 no formulas; the powers of ten on logarithmic axes stay formulas.
    Bytes of a file's name that are not UTF-8, which no font has, become question marks."""
    from matplotlib.text import Text

    powers = {
        text
        for axes in fig.axes
        for axis in (axes.xaxis, axes.yaxis)
        if axis.get_scale() == "log"
        for text in axis.findobj(Text)
    }
    for axes in fig.axes:
        for axis in (axes.xaxis, axes.yaxis):  # drawing sets the texts of ticks again
            names = [text.get_text() for text in axis.get_ticklabels()]
            if (printable := list(map(_printable, names))) != names:
                axis.set_ticklabels(printable)
    for text in set(fig.findobj(Text)) - powers:
        text.set_parse_math(False)
        text.set_text(_printable(text.get_text()))


def _printable(text: str) -> str:
    return text.encode(errors="replace").decode()


Cell = tuple[float, float, float, float]  # left, right, bottom, top: imshow's extent


def cells(axes: Any, rows: int, columns: int, aspect: float = 1.0, gap: float = 0.1) -> list[Cell]:
    """Cells for images on one axes, row by row, each 1 wide and 1 high, with `gap` between them.

    aspect: height of a row in those units; the part above 1 is room for text. Drawing all images on
    one axes is many times faster than on one axes each.
    """
    bare(axes)
    axes.set_aspect("equal")
    axes.set_xlim(0, columns * (1 + gap) - gap)
    axes.set_ylim(-rows * (aspect + gap) + gap, 0.15)
    return [
        (
            column * (1 + gap),
            column * (1 + gap) + 1,
            -row * (aspect + gap) - 1,
            -row * (aspect + gap),
        )
        for row in range(rows)
        for column in range(columns)
    ]


def top_of(cell: Cell) -> tuple[float, float]:
    """The middle of a cell's upper edge."""
    return (cell[0] + cell[1]) / 2, cell[3] + 0.01


def bare(axes: Any) -> None:
    """Remove ticks, grid and frame from the axes."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
