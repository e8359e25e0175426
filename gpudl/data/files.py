"""Reads files that may be damaged: every length is checked before memory is allocated for it.

A header can claim any size. A file holds at most its size on disk, times deflate's best ratio if it
is compressed; no read here exceeds that or the caller's limit.
"""

from __future__ import annotations

import gzip
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.data.errors import DataError, damaged

GZIP_MAGIC = b"\x1f\x8b"
# Deflate spends at least two bits on a match of 258 bytes (RFC 1951, 3.2.5), so it never compresses
# better than this.
DEFLATE_RATIO = 1032
CHUNK = 1 << 22  # bytes read at a time


Stream = BufferedReader | gzip.GzipFile


class DataFile:
    """An open file, plain or gzip, read from front to back."""

    def __init__(self, path: Path, stream: Stream, capacity: int, compressed: bool) -> None:
        self.path = path
        self.capacity = capacity  # upper bound of the bytes still to be read
        self.compressed = compressed
        self._stream = stream

    def read(self, count: int, what: str) -> npt.NDArray[np.uint8]:
        """The next `count` bytes. Raises DataError, naming `what`, if the file ends first."""
        self.expect(count, what)
        data = np.empty(count, np.uint8)
        view, filled = data.data, 0
        while filled < count:
            received = self._stream.readinto(view[filled : filled + CHUNK])
            if not received:
                raise damaged(
                    self.path, f"truncated: {what} takes {count} bytes, but only {filled} follow"
                )
            filled += received
        self.capacity -= count
        return data

    def expect(self, count: int, what: str) -> None:
        """Raises DataError if the file cannot hold `count` more bytes."""
        if count > self.capacity:
            can = "can hold at most" if self.compressed else "holds"
            raise damaged(
                self.path,
                f"truncated or damaged: {what} takes {count} bytes, "
                f"the file {can} {self.capacity} more",
            )

    def some(self, count: int) -> bytes:
        """At most `count` bytes; empty at the end."""
        return self._stream.read(count)

    def rest(self, limit: int) -> bytes:
        """All remaining bytes. Raises DataError if they are more than `limit`."""
        chunks, total = [], 0
        while chunk := self._stream.read(CHUNK):
            total += len(chunk)
            if total > limit:
                raise damaged(self.path, f"holds more than the expected {limit} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    def finish(self) -> None:
        """Raises DataError if bytes remain or gzip's own checksum is wrong."""
        if self._stream.read(1):
            raise damaged(self.path, "has bytes after the end given in its header")


@contextmanager
def opened(path: Path) -> Iterator[DataFile]:
    """Opens a data file; read errors inside the block become a DataError that names it.

    Files whose names end in .gz must hold gzip data, and others must not; otherwise a DataError
    says how to rename the file.
    """
    size = regular_size(path)
    try:
        with open(path, "rb") as raw:
            compressed = raw.peek(2)[:2] == GZIP_MAGIC
            _check_suffix(path, compressed)
            if not compressed:
                yield DataFile(path, raw, size, compressed)
                return
            with gzip.GzipFile(fileobj=raw) as stream:
                yield DataFile(path, stream, size * DEFLATE_RATIO, compressed)
    except EOFError:
        raise damaged(path, "truncated: the gzip stream ends too early") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise damaged(path, f"damaged gzip data ({error})") from None
    except OSError as error:
        raise _unreadable(path, error) from None


def regular_size(path: Path) -> int:
    """Size in bytes. Raises DataError if the file is missing, empty or not a regular file."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if stat.S_ISDIR(status.st_mode):
        raise damaged(path, "is a folder, expected a file", "remove it and put the file there")
    if not stat.S_ISREG(status.st_mode):
        raise damaged(path, "is not a regular file", "put a regular file there")
    if status.st_size == 0:
        raise damaged(path, "is empty")
    return status.st_size


def check_labels(
    path: Path, labels: npt.NDArray[Any], classes: int, fix: str | None = None
) -> None:
    """Raises DataError if there are no labels, or if they are not integers from 0 to classes - 1.

    fix: the advice in the message, for a file that cannot be fetched again.
    """
    if labels.size == 0:
        raise damaged(path, "has no samples", fix)
    if labels.dtype.kind not in "iu":
        raise damaged(path, f"has labels of type {labels.dtype}, expected integers", fix)
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        raise damaged(
            path,
            f"label {labels[wrong[0]]} of sample {wrong[0]} is out of range, "
            f"expected 0 to {classes - 1}",
            fix,
        )


def _check_suffix(path: Path, compressed: bool) -> None:
    if path.suffix == ".gz" and not compressed:
        raise damaged(
            path,
            "is named .gz but is not compressed with gzip",
            f"rename it to {path.stem} if it holds the plain data, otherwise fetch it again",
        )
    if compressed and path.suffix != ".gz":
        raise damaged(path, "holds gzip data but is not named .gz", f"rename it to {path.name}.gz")


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or str(error)
    return damaged(path, f"cannot be read ({reason})", "check its name and permissions")
