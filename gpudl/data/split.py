"""The training and test parts of a data set, and a held-out test part if none was published."""

from __future__ import annotations

from typing import NamedTuple

from gpudl.data.dataset import Dataset, Indices, stratified_split
from gpudl.data.errors import DataError

HELD_OUT = 0.2  # of each class, if there is no published test part


class Split(NamedTuple):
    """The training and test parts of a data set."""

    train: Dataset
    test: Dataset


def hold_out(origin: str, labels: Indices, seed: int) -> tuple[Indices, Indices]:
    """Indices (train, test) for a data set without a test part: a fifth of each class is held out.

    origin: the name of the data, for the DataError raised if no class has two samples.
    """
    try:
        return stratified_split(labels, HELD_OUT, seed)
    except ValueError as error:
        raise DataError(f"{origin}: {error}; add samples or a test part") from None
