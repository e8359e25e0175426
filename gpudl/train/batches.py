"""Batches for training and evaluation, from any data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpudl.core.op import is_floating
from gpudl.data import ArrayDataset, Dataset, Loader, Split, transforms

MOST_THREADS = 8  # each may hold two batches
IMAGES = 4  # axes of a batch of images


def threads(part: Dataset) -> int:
    """The number of threads that prepare batches; the batches do not depend on it."""
    return min(MOST_THREADS, os.cpu_count() or 1) if part.from_files else 1


def transform(
    part: Dataset,
    mean: Sequence[float],
    std: Sequence[float],
    augment: str = "none",
    shift: int = 0,
) -> transforms.Transform:
    """Augmentation, scaling to [0, 1] and normalization of a batch of images."""
    steps: list[transforms.Transform] = []
    if "shift" in augment:
        height, width = part.shape[1:]
        steps.append(transforms.RandomCrop((height, width), shift))
    if "flip" in augment:
        steps.append(transforms.RandomHorizontalFlip())
    return transforms.Compose([*steps, transforms.ToFloat(), transforms.Normalize(mean, std)])


def loader(data: Any, model: Any, batch_size: int, shuffle: bool = False) -> Loader:
    """The data itself if it is a Loader; otherwise batches of a data set, or of a tuple of arrays,
    on the model's device and in its number format."""
    if isinstance(data, Loader):
        return data
    if isinstance(data, Split):
        raise TypeError("Trainer: this is a Split; pass its parts, split.train and split.test")
    weight = next(model.parameters())
    if isinstance(data, tuple):
        data = ArrayDataset(*(_fitting(part, weight.dtype) for part in data))
    return Loader(
        data,
        batch_size,
        shuffle=shuffle,
        num_workers=threads(data) if isinstance(data, Dataset) else 1,
        transform=_usual(data),
        device=weight.device,
    )


def _fitting(values: Any, dtype: Any) -> Any:
    """Values as an array, floating ones in the model's format: NumPy makes float64 by default."""
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    return array.astype(dtype) if is_floating(array.dtype) else array


def _usual(data: Any) -> transforms.Transform | None:
    """Scales uint8 images to [0, 1], and normalizes images of data sets that have statistics."""
    sample = data[0]
    first = sample[0] if isinstance(sample, tuple) else sample
    if getattr(first, "ndim", 0) + 1 != IMAGES:
        return None
    if getattr(data, "mean", None) and getattr(data, "std", None):
        return transforms.Compose([transforms.ToFloat(), transforms.Normalize(data.mean, data.std)])
    return transforms.ToFloat()
