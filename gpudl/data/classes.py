"""Selected classes of a data set as a new data set."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np

from gpudl.data.dataset import Array, Dataset, Indices, Subset
from gpudl.data.errors import DataError

MOST_NAMED = 20  # classes listed in a message


class OfClasses(Subset):
    """The samples of some classes, in their original order; label `labels[i]` becomes i.

    Raises ValueError for an unknown or repeated label.
    """

    def __init__(self, dataset: Dataset, labels: Sequence[int]) -> None:
        names = class_names(dataset)
        wrong = [label for label in labels if not 0 <= label < len(names)]
        if wrong or len(set(labels)) < len(labels):
            raise ValueError(
                f"OfClasses: labels: {list(labels)}, expected distinct labels from 0 to "
                f"{len(names) - 1}"
            )
        super().__init__(dataset, np.flatnonzero(np.isin(dataset.labels, labels)))
        self.classes = tuple(names[label] for label in labels)
        self.numbers = np.full(len(names), -1)  # new label by old label, -1 if left out
        self.numbers[list(labels)] = np.arange(len(labels))

    def batch(self, indices: Indices) -> tuple[Array, ...]:
        images, labels, *others = super().batch(indices)
        return (images, self.numbers[labels], *others)

    @property
    def labels(self) -> Indices:
        labels: Indices = self.numbers[super().labels]
        return labels

    def __repr__(self) -> str:
        return f"OfClasses({len(self)} of {self.dataset!r}: {', '.join(self.classes)})"


def class_names(dataset: Dataset) -> tuple[str, ...]:
    """The names of the labels, or the labels as text if they have none."""
    return dataset.classes or tuple(map(str, range(int(dataset.labels.max()) + 1)))


def find_labels(classes: Sequence[int | str], names: Sequence[str], origin: str) -> tuple[int, ...]:
    """The labels of classes given by name or label; a string is tried as a name first.

    names: of all classes. origin: the name of the data, for the DataError about an unknown class.
    """
    labels = []
    for wanted in classes:
        text = str(wanted)
        is_name = isinstance(wanted, str) and text in names
        label = names.index(text) if is_name else int(text) if text.isdecimal() else -1
        if not 0 <= label < len(names):
            raise DataError(
                f"{origin}: has no class {text!r}; {_hint(text, names)}; "
                "give names or labels with --classes"
            )
        labels.append(label)
    return tuple(labels)


def _hint(wrong: str, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(wrong, names, 1)
    if near:
        return f"did you mean {near[0]}?"
    return f"it has {', '.join(names[:MOST_NAMED])}{', …' if len(names) > MOST_NAMED else ''}"
