"""Makes standard output and error accept any text, whatever they are connected to."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata

ASCII = {"×": "x", "·": "*", "−": "-", "–": "-", "≤": "<=", "≥": ">=", "→": "->", "√": "sqrt"}
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
