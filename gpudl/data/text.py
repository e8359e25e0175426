"""Text as a data set: windows of character codes, whose targets are the next characters."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpudl.core.files import require_regular
from gpudl.data.dataset import Array, Dataset, Indices
from gpudl.data.errors import DataError, damaged
from gpudl.data.split import Split

WINDOW = 64  # characters
TRAIN_SHARE = 0.9  # of a text, from its beginning
MOST_BYTES = 1 << 28
Codes = npt.NDArray[np.int64]


class TextDataset(Dataset):
    """Consecutive windows of a text: sample i is (codes, next codes), both (window,) int64.

    codes: the text, as indices into `classes`, its characters. The last target of a window is the
    first character of the next one; an incomplete window at the end is dropped.
    Raises ValueError if the text has fewer than window + 1 characters.
    """

    def __init__(
        self, codes: npt.ArrayLike, classes: tuple[str, ...], window: int = WINDOW
    ) -> None:
        self.codes = np.asarray(codes, np.int64)
        self.classes, self.window = tuple(classes), window
        if window < 1 or len(self.codes) <= window:
            raise ValueError(
                f"TextDataset: window is {window}; it must be from 1 to below the text's "
                f"{len(self.codes)} characters"
            )

    def __len__(self) -> int:
        return (len(self.codes) - 1) // self.window

    def batch(self, indices: Indices) -> tuple[Array, ...]:
        positions = np.asarray(indices)[:, None] * self.window + np.arange(self.window)
        return self.codes[positions], self.codes[positions + 1]

    @property
    def text(self) -> str:
        return decode(self.codes, self.classes)

    def windows(self, window: int, limit: int | None = None) -> TextDataset:
        """The same text in windows of another length, at most the first `limit` of them."""
        end = None if limit is None else limit * window + 1
        return TextDataset(self.codes[:end], self.classes, window)

    def __repr__(self) -> str:
        return (
            f"TextDataset({len(self.codes)} characters, {len(self.classes)} different, "
            f"{len(self)} windows of {self.window})"
        )


class Streams(Dataset):
    """A text cut into `streams` parts that are read in parallel, window by window.

    Sample i is window i // streams of part i % streams, as in TextDataset. Each batch of `streams`
    consecutive samples continues the one before, so that a recurrent state can be carried over.
    The last window of all parts may be shorter.
    """

    def __init__(self, part: TextDataset, streams: int) -> None:
        self.streams, self.window, self.classes = streams, part.window, part.classes
        self.length = (len(part.codes) - 1) // streams  # targets of one stream
        if not self.length:
            raise ValueError(
                f"Streams: streams is {streams}; it must be below the text's "
                f"{len(part.codes)} characters"
            )
        self.codes = part.codes

    def __len__(self) -> int:
        return self.streams * -(-self.length // self.window)

    def batch(self, indices: Indices) -> tuple[Array, ...]:
        window, stream = np.divmod(np.asarray(indices), self.streams)
        count = min(self.window, self.length - int(window.max()) * self.window)
        first = stream * self.length + window * self.window
        positions = first[:, None] + np.arange(count)
        return self.codes[positions], self.codes[positions + 1]


def encode(text: str, classes: tuple[str, ...]) -> Codes:
    """The codes of the characters. Raises ValueError for one that is not in `classes`."""
    numbers = {character: number for number, character in enumerate(classes)}
    if unknown := sorted(set(text) - numbers.keys()):
        raise ValueError(
            f"encode: text: has {unknown[0]!r}, which is not among the {len(classes)} known "
            "characters; remove it"
        )
    return np.array([numbers[character] for character in text], np.int64)


def decode(codes: npt.ArrayLike, classes: tuple[str, ...]) -> str:
    return "".join(np.array(classes, dtype=str)[np.asarray(codes, np.int64)])


def split_text(text: str, window: int = WINDOW) -> Split:
    """The first nine tenths for training, the rest for testing. The vocabulary is all characters of
    the text, sorted."""
    classes = tuple(sorted(set(text)))
    codes = encode(text, classes)
    end = int(len(codes) * TRAIN_SHARE)
    return Split(
        TextDataset(codes[:end], classes, window), TextDataset(codes[end:], classes, window)
    )


def load_text(path: Path) -> Split:
    """`split_text` of a UTF-8 file. Raises DataError if it cannot be read or is too short."""
    return parts_of(path, read_text(path))


def read_text(path: Path) -> str:
    """The content of a text file. Raises DataError if it is not UTF-8 or too large."""
    try:
        require_regular(path)
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: has more than {MOST_BYTES >> 20} MiB; use a part of it")
        return path.read_text(encoding="utf-8-sig")  # without the mark that Windows adds
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}); check the path"
        ) from None
    except UnicodeDecodeError:
        raise damaged(path, "is not UTF-8 text", "convert it") from None


def parts_of(path: str | os.PathLike[str], text: str) -> Split:
    """`split_text` of the text of a file. Raises DataError, naming `path`, if it is too short."""
    least = round((WINDOW + 1) / (1 - TRAIN_SHARE))
    if len(text) < least:
        raise damaged(path, f"has {len(text)} characters, expected {least} or more", "add more")
    return split_text(text)
