"""Labelled short texts: lines of files by class, or genuine and forged pieces of a text."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gpudl.core.files import expanded
from gpudl.data.dataset import ArrayDataset, Indices
from gpudl.data.errors import DataError
from gpudl.data.split import Split, hold_out
from gpudl.data.text import Codes, TextDataset, decode, encode, read_text

SHORTEST, LONGEST = 10, 80  # characters of a forgery
CONTEXT = 2  # characters that the next one of a forgery depends on
FORGED, GENUINE = 0, 1
KINDS = ("forged", "genuine")


class LabelledTexts(ArrayDataset):
    """Texts as (N, longest) int64 codes, padded at the end with len(characters), and labels (N,)
    int64."""

    def __init__(
        self,
        codes: npt.ArrayLike,
        labels: npt.ArrayLike,
        classes: Sequence[str],
        characters: Sequence[str],
    ) -> None:
        super().__init__(np.asarray(codes, np.int64), np.asarray(labels, np.int64))
        self.classes, self.characters = tuple(classes), tuple(characters)

    @property
    def labels(self) -> Indices:
        return self.arrays[1]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.arrays[0].shape[1:]

    def __repr__(self) -> str:
        return f"LabelledTexts({len(self)} of {', '.join(self.classes)})"


def padded(texts: Sequence[str], characters: tuple[str, ...], longest: int) -> Codes:
    """(N, longest) codes, padded at the end with len(characters); longer texts are cut.

    Raises ValueError for a character that is not in `characters`.
    """
    codes = np.full((len(texts), longest), len(characters), np.int64)
    for row, text in zip(codes, texts, strict=True):
        row[: len(text)] = encode(text[:longest], characters)
    return codes


def unpadded(codes: Codes, characters: tuple[str, ...]) -> str:
    """The text of one row of `padded`."""
    return decode(codes[codes < len(characters)], characters)


def forgeries(
    part: TextDataset,
    source: TextDataset,
    count: int,
    longest: int = LONGEST,
    seed: int = 0,
) -> LabelledTexts:
    """`count` texts of SHORTEST to `longest` characters, alternately forged and genuine pieces.

    A forgery begins with characters of `part` and continues as a Markov chain of order CONTEXT
    (Shannon, A Mathematical Theory of Communication, 1948, section 3): its last characters are
    looked up at a random place in `source`, and the character that follows there is appended. Both
    texts must have the same classes.
    """
    rng = np.random.default_rng(seed)
    padding = len(part.classes)
    starts = rng.integers(0, len(part.codes) - longest, count)
    texts = part.codes[starts[:, None] + np.arange(longest)].copy()
    _forge(texts[::2], source.codes, padding, rng)
    lengths = rng.integers(min(SHORTEST, longest), longest + 1, count)
    texts[np.arange(longest) >= lengths[:, None]] = padding
    return LabelledTexts(texts, np.arange(count) % 2, KINDS, part.classes)


def _forge(texts: Codes, source: Codes, base: int, rng: np.random.Generator) -> None:
    """Replaces all but the first CONTEXT characters of texts (N, longest) with samples of the
    chain. base: the number of codes in the source."""
    keys = source[:-2] * base + source[1:-1]  # CONTEXT characters as one number
    order = np.argsort(keys, kind="stable")
    ranked = keys[order]
    for place in range(CONTEXT, texts.shape[1]):
        key = texts[:, place - 2] * base + texts[:, place - 1]
        first = np.searchsorted(ranked, key, "left")
        matches = np.searchsorted(ranked, key, "right") - first
        chosen = first + (rng.random(len(key)) * np.maximum(matches, 1)).astype(np.int64)
        texts[:, place] = source[order[np.minimum(chosen, len(order) - 1)] + 2]


def load_texts(folder: str | os.PathLike[str], longest: int = LONGEST, seed: int = 0) -> Split:
    """The lines of the .txt files in a folder; each file is a class with its name. A fifth of each
    class, chosen by `seed`, is held out. Blank lines are skipped.

    Raises DataError if there are fewer than two files, or if one has no text.
    """
    folder = expanded(folder)
    files = sorted(folder.glob("*.txt"))
    if len(files) < 2:
        raise DataError(
            f"{folder}: has {len(files)} .txt files, expected one per class with a text per line"
        )
    lines: list[str] = []
    labels: list[int] = []
    for label, file in enumerate(files):
        texts = [line.strip() for line in read_text(file).splitlines() if line.strip()]
        if not texts:
            raise DataError(f"{file}: has no text; add lines or remove the file")
        lines += texts
        labels += [label] * len(texts)
    characters = tuple(sorted(set("".join(lines))))
    codes, targets = padded(lines, characters, longest), np.array(labels)
    classes = [file.stem for file in files]
    parts = hold_out(str(folder), targets, seed)
    return Split(*(LabelledTexts(codes[p], targets[p], classes, characters) for p in parts))
