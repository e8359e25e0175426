"""Reading files that may be damaged: every length is checked before memory is taken for it.

A header can promise anything. What a file can really hold is bounded by its size on disk, times
deflate's best ratio where it is compressed, and no read here goes beyond that or beyond the
caller's limit.
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
# Deflate spends at least two bits on a match of 258 bytes (RFC 1951, 3.2.5), hence never shrinks
# more than this.
DEFLATE_RATIO = 1032
CHUNK = 1 << 22  # bytes read at a time


Stream = BufferedReader | gzip.GzipFile


class DataFile:
    """An opened file, plain or gzip, read front to back."""

    def __init__(self, path: Path, stream: Stream, capacity: int, compressed: bool) -> None:
        self.path = path
        self.capacity = capacity  # bytes: an upper bound of what can still be read
        self.compressed = compressed
        self._stream = stream

    def read(self, count: int, what: str) -> npt.NDArray[np.uint8]:
        """The next `count` bytes. Raises DataError, naming `what`, where the file ends before."""
        self.expect(count, what)
        data = np.empty(count, np.uint8)
        view, filled = data.data, 0
        while filled < count:
            got = self._stream.readinto(view[filled : filled + CHUNK])
            if not got:
                raise damaged(
                    self.path, f"truncated: {what} takes {count} bytes, {filled} are there"
                )
            filled += got
        self.capacity -= count
        return data

    def expect(self, count: int, what: str) -> None:
        """Raises DataError where `count` more bytes cannot be in the file."""
        if count > self.capacity:
            can = "can hold at most" if self.compressed else "holds"
            raise damaged(
                self.path,
                f"truncated or damaged: {what} takes {count} bytes, "
                f"the file {can} {self.capacity} more",
            )

    def some(self, count: int) -> bytes:
        """At most `count` bytes; none at the end."""
        return self._stream.read(count)

    def rest(self, limit: int) -> bytes:
        """All that follows. Raises DataError where it is more than `limit` bytes."""
        chunks, total = [], 0
        while chunk := self._stream.read(CHUNK):
            total += len(chunk)
            if total > limit:
                raise damaged(self.path, f"holds more than the {limit} bytes expected of it")
            chunks.append(chunk)
        return b"".join(chunks)

    def finish(self) -> None:
        """Raises DataError where the file goes on; checks gzip's own checksum too."""
        if self._stream.read(1):
            raise damaged(self.path, "there are bytes behind the end that its header gives")


@contextmanager
def opened(path: Path) -> Iterator[DataFile]:
    """Opens a data file; whatever goes wrong inside the block becomes a DataError that names it.

    A name that ends in .gz must hold gzip data and another name must not: a mismatch is refused
    with the fix.
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
    """Size in bytes. Raises DataError where the file is missing, empty or no regular file."""
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
    """Raises DataError where there are no labels, or not whole numbers from 0 to classes - 1.

    fix: what to do about it, where the file is none that can be fetched again.
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
            f"rename it to {path.stem} if it holds the plain data, else fetch it again",
        )
    if compressed and path.suffix != ".gz":
        raise damaged(path, "holds gzip data but is not named .gz", f"rename it to {path.name}.gz")


def _unreadable(path: Path, error: Exception) -> DataError:
    reason = getattr(error, "strerror", None) or str(error)
    return damaged(path, f"cannot be read ({reason})", "check its name and permissions")
