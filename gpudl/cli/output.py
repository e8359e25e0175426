"""Makes standard output and error accept any text, whatever they are connected to."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
import unicodedata
from collections.abc import Iterable
from typing import Any

ASCII = {"×": "x", "·": "*", "−": "-", "–": "-", "≤": "<=", "≥": ">=", "→": "->", "√": "sqrt"}
# Control characters, and those that turn the direction of the text that follows.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
ERRORS = "gpudl-similar"


def make_printable() -> None:
    """Replace characters that an ASCII terminal lacks with similar ones, and closed streams with
    the null device."""
    codecs.register_error(ERRORS, _similar)
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # `gpudl … >&-`: the number must not become that of a data file
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper) and name != "stdin":
            stream.reconfigure(errors=ERRORS)


class Clean:
    """A stream that shows control characters as text, \\x1b for example: names in files of others
    could otherwise move the cursor or change the terminal. New lines and tabs stay, and a return at
    the beginning, with which a progress bar redraws itself."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        start = "\r" if text.startswith("\r") else ""
        self._stream.write(start + CONTROL.sub(escaped, text[len(start) :]))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()


def discard_output() -> None:
    """Discard unwritten output, also in Python's own flush at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(null, stream.fileno())
    os.close(null)


def _similar(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = ""
    for character in error.object[error.start : error.end]:
        plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
        text += ASCII.get(character, plain or "?")
    return text, error.end
