"""How wide the terminal is, and text that fits into it."""

from __future__ import annotations

import os
import sys
import textwrap
from typing import Any

NARROWEST = 40  # columns; a narrower terminal wraps by itself


def columns(stream: Any) -> int | None:
    """The number of columns of the terminal behind a stream; None if it is a file or a pipe, whose
    lines should not be wrapped. The environment variable COLUMNS has precedence over the terminal's
    own number."""
    try:
        if not stream.isatty():
            return None
        own = os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError, ValueError):
        return None
    asked = os.environ.get("COLUMNS", "")
    return max(int(asked) if asked.isdecimal() else own, NARROWEST)


def wrapped(text: str, width: int | None, indent: str = "") -> str:
    """The text with its lines wrapped to `width` columns, continued after `indent`."""
    if width is None:
        return text
    lines = (
        textwrap.fill(line, width, subsequent_indent=indent, break_on_hyphens=False)
        for line in text.split("\n")
    )
    return "\n".join(lines)


def say(text: str) -> None:
    """Prints text at once, wrapped if the output is a terminal."""
    print(wrapped(text, columns(sys.stdout), "  "), flush=True)
