"""Resizes images batch by batch, for data sets that would not fit into memory resized."""

from __future__ import annotations

from gpudl.data.dataset import Array, Dataset, Indices
from gpudl.data.transforms import resize


class Resized(Dataset):
    """The images of another data set, resized to (C, height, width) as each batch is read."""

    def __init__(self, dataset: Dataset, size: tuple[int, int]) -> None:
        self.dataset, self.size = dataset, size
        self.classes, self.mean, self.std = dataset.classes, dataset.mean, dataset.std
        self.from_files = dataset.from_files

    def __len__(self) -> int:
        return len(self.dataset)

    def batch(self, indices: Indices) -> tuple[Array, ...]:
        images, *others = self.dataset.batch(indices)
        return (resize(images, self.size), *others)

    @property
    def labels(self) -> Indices:
        return self.dataset.labels

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.dataset.shape[0], *self.size)

    def __repr__(self) -> str:
        return f"Resized({self.dataset!r} to {self.size})"
