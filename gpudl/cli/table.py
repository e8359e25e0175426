"""Text tables that fit the terminal."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Sequence

from gpudl.cli.output import escaped
from gpudl.core.terminal import columns

GAP = 2
_BREAKS = re.compile(r"[\n\r\t]")  # in names of files and classes, they would break the table
LEAST = 20  # columns of a cell that is wrapped


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = (), needed: int = 0
) -> str:
    """Rows under a header; the columns whose numbers are in `right` are right-aligned.

    If the terminal is too narrow, the last columns are left out down to the first `needed` (0: all
    are needed), and then the widest text is wrapped.
    """
    width = columns(sys.stdout)
    lines = [list(head), *([_BREAKS.sub(escaped, cell) for cell in row] for row in rows)]
    while width and len(lines[0]) > (needed or len(head)) and _total(lines) > width:
        lines = [line[:-1] for line in lines]
    if width and (excess := _total(lines) - width) > 0:
        lines = _wrap_widest(lines, right, excess)
    widths = _widths(lines)

    def text(line: Sequence[str]) -> str:
        cells = (
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        return (" " * GAP).join(cells).rstrip()

    rule = (" " * GAP).join("-" * width for width in widths)
    return "\n".join([text(lines[0]), rule, *map(text, lines[1:])])


def _widths(lines: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*lines, strict=True)]


def _total(lines: Sequence[Sequence[str]]) -> int:
    widths = _widths(lines)
    return sum(widths) + GAP * (len(widths) - 1)


def _wrap_widest(lines: list[list[str]], right: Sequence[int], excess: int) -> list[list[str]]:
    widths = _widths(lines)
    texts = [i for i in range(len(widths)) if i not in right]
    widest = max(texts, key=lambda i: widths[i])
    room = max(widths[widest] - excess, LEAST)
    found = []
    for line in lines:
        pieces = textwrap.wrap(line[widest], room) or [""]
        found.append([*line[:widest], pieces[0], *line[widest + 1 :]])
        empty = [""] * len(line)
        found += [[*empty[:widest], piece, *empty[widest + 1 :]] for piece in pieces[1:]]
    return found
