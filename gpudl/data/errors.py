"""The error of everything that reads data."""

from __future__ import annotations

import os


class DataError(ValueError):
    """A file or folder of data is missing, damaged or not what it should be.

    The message names the file, says what is wrong with it and how to put it right.
    """


class NoImagesError(DataError):
    """Images were asked for, and the data set is a text."""


def damaged(path: str | os.PathLike[str], wrong: str, fix: str | None = None) -> DataError:
    """The error for the file at `path`: what is wrong, then what to do about it."""
    fix = fix or "delete it and fetch it again"
    return DataError(f"{os.fspath(path)}: {wrong}; {fix}")
