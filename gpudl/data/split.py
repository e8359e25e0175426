"""The training and the test part of a data set, and a test part where none was published."""

from __future__ import annotations

from typing import NamedTuple

from gpudl.data.dataset import Dataset, Indices, stratified_split
from gpudl.data.errors import DataError

HELD_OUT = 0.2  # of each class, where there is no published test part


class Split(NamedTuple):
    """The two parts of a data set: one to learn from, one to judge by."""

    train: Dataset
    test: Dataset


def hold_out(origin: str, labels: Indices, seed: int) -> tuple[Indices, Indices]:
    """Indices (train, test) of a data set without a test part of its own: a fifth of each class.

    origin: what the DataError names where no class has two samples.
    """
    try:
        return stratified_split(labels, HELD_OUT, seed)
    except ValueError as error:
        raise DataError(f"{origin}: {error}; add more or a test part of its own") from None
