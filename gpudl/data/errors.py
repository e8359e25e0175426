"""Errors raised while reading data."""

from __future__ import annotations

import os


class DataError(ValueError):
    """A data file or folder is missing, damaged or not as expected.

    The message names the file, what is wrong and how to fix it.
    """


class NotFoundError(DataError):
    """The files of a known data set are nowhere. The message lists the addresses to fetch them
    from, each on a line of its own."""

    lists_addresses = True


class NoImagesError(DataError):
    """Images were requested from a data set of text."""


def damaged(path: str | os.PathLike[str], wrong: str, fix: str | None = None) -> DataError:
    """A DataError for the file at `path`. wrong: the problem. fix: how to solve it."""
    fix = fix or "delete it and fetch it again"
    return DataError(f"{os.fspath(path)}: {wrong}; {fix}")
