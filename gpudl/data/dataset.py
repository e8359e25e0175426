"""Data sets: arrays in memory, subsets and splits.

A data set has a length and returns a whole batch for an array of indices, without a loop over
samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.core.random import default_generator
from gpudl.data.shuffle import permutation

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]


class Dataset:
    """Base class of data sets. Subclasses define `__len__` and `batch`, or `__len__` and `sample`.

    classes: names of the labels 0, 1, …; empty if they have none.
    characters: for labelled texts, the character of each code.
    mean, std: per channel, of images scaled to [0, 1]; None if unknown.
    from_files: samples are read from disk on demand, so several threads are faster than one.
    """

    classes: tuple[str, ...] = ()
    characters: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    from_files: bool = False

    def __len__(self) -> int:
        raise TypeError(f"{type(self).__name__} must define __len__")

    def sample(self, index: int) -> tuple[Array, ...]:
        """The sample at `index`, 0 <= index < len: a tuple of arrays."""
        return tuple(array[0] for array in self.batch(np.array([index])))

    def batch(self, indices: Indices) -> tuple[Array, ...]:
        """The samples at `indices`, as arrays with a leading batch axis."""
        return tuple(
            np.stack(column) for column in zip(*map(self.sample, indices.tolist()), strict=True)
        )

    def __getitem__(self, index: Any) -> tuple[Array, ...]:
        """One sample for an integer; a batch for a slice, a 1-d array of integers or a mask.

        Raises IndexError for an index out of range, TypeError for any other type.
        """
        if isinstance(index, (int, np.integer)) and not isinstance(index, bool):
            return self.sample(int(check_indices(np.array([index]), len(self))[0]))
        if isinstance(index, slice):
            return self.batch(np.arange(len(self))[index])
        return self.batch(check_indices(np.asarray(index), len(self)))

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        return (self.sample(index) for index in range(len(self)))

    @property
    def images(self) -> Array:
        """All images, (N, C, H, W)."""
        return self.batch(np.arange(len(self)))[0]

    @property
    def labels(self) -> Indices:
        """All labels, (N,) int64."""
        return self.batch(np.arange(len(self)))[1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image, (C, H, W)."""
        return self.sample(0)[0].shape

    @property
    def stretched(self) -> bool:
        """Whether images of other heights and widths are resized to `shape`."""
        return False


class ArrayDataset(Dataset):
    """Arrays of equal length: sample i is the tuple of their i-th entries.

    Raises ValueError without arrays or if their lengths differ.
    """

    def __init__(self, *arrays: npt.ArrayLike) -> None:
        self.arrays = tuple(np.asarray(array) for array in arrays)
        if not self.arrays or any(array.ndim == 0 for array in self.arrays):
            raise ValueError("ArrayDataset: arrays: expected one or more, none of them a scalar")
        lengths = {len(array) for array in self.arrays}
        if len(lengths) > 1:
            shapes = ", ".join(str(array.shape) for array in self.arrays)
            raise ValueError(f"ArrayDataset: arrays: lengths differ, shapes are {shapes}")

    def __len__(self) -> int:
        return len(self.arrays[0])

    def batch(self, indices: Indices) -> tuple[Array, ...]:
        return tuple(array[indices] for array in self.arrays)


class ImageDataset(ArrayDataset):
    """Labelled images in memory.

    images: (N, C, H, W) uint8, or float32 in [0, 1]. uint8 is kept, to be converted batch by batch.
    labels: (N,) integers, 0 <= label < len(classes), stored as int64.
    Raises ValueError for wrong shapes, dtypes or labels.
    """

    def __init__(
        self,
        images: npt.ArrayLike,
        labels: npt.ArrayLike,
        classes: Sequence[str] = (),
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        images, labels = np.asarray(images), np.asarray(labels)
        _check_images(images, labels, len(classes))
        super().__init__(images, labels.astype(np.int64))
        self.classes = tuple(classes)
        self.mean = None if mean is None else tuple(map(float, mean))
        self.std = None if std is None else tuple(map(float, std))

    @property
    def images(self) -> Array:
        return self.arrays[0]

    @property
    def labels(self) -> Indices:
        return self.arrays[1]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.images.shape[1:]

    def __repr__(self) -> str:
        return (
            f"ImageDataset({len(self)} images {self.shape} {self.images.dtype}, "
            f"{len(self.classes)} classes)"
        )


class Subset(Dataset):
    """The samples `indices` of another data set, in that order.

    dataset: a `Dataset`, or any object with a length whose `[i]` returns a sample.
    Raises IndexError for an index out of range.
    """

    def __init__(self, dataset: Any, indices: npt.ArrayLike) -> None:
        self.dataset = dataset
        self.indices = check_indices(np.asarray(indices), len(dataset))
        for name in ("classes", "characters", "mean", "std", "from_files"):
            setattr(self, name, getattr(dataset, name, getattr(Dataset, name)))

    def __len__(self) -> int:
        return len(self.indices)

    def sample(self, index: int) -> Any:
        return self.dataset[int(self.indices[index])]

    def batch(self, indices: Indices) -> Any:
        return collect(self.dataset, self.indices[indices])

    @property
    def labels(self) -> Indices:
        if isinstance(self.dataset, Dataset):
            return self.dataset.labels[self.indices]
        return super().labels

    @property
    def shape(self) -> tuple[int, ...]:
        return self.dataset.shape if isinstance(self.dataset, Dataset) else super().shape

    @property
    def stretched(self) -> bool:
        return bool(getattr(self.dataset, "stretched", False))

    def __repr__(self) -> str:
        return f"Subset({len(self)} of {self.dataset!r})"


def collect(dataset: Any, indices: Indices) -> Any:
    """The samples at `indices` as one batch; in one call for a Dataset, otherwise one by one."""
    if isinstance(dataset, Dataset):
        return dataset.batch(indices)
    return stack([dataset[index] for index in indices.tolist()])


def stack(samples: Sequence[Any]) -> Any:
    """Samples as one batch with the same structure.

    Arrays, tensors and numbers are stacked; strings and bytes become a list; tuples, lists, named
    tuples and dictionaries are batched entry by entry. Raises TypeError for anything else,
    ValueError if samples differ in shape, length or keys.
    """
    first = samples[0]
    if isinstance(first, (str, bytes)):
        return list(samples)
    if isinstance(first, Mapping):
        if any(not isinstance(sample, Mapping) or set(sample) != set(first) for sample in samples):
            raise ValueError(f"a batch of dictionaries: all must have the keys {list(first)}")
        return {key: stack([sample[key] for sample in samples]) for key in first}
    if isinstance(first, (tuple, list)):
        if any(len(sample) != len(first) for sample in samples):
            raise ValueError(
                f"a batch of {type(first).__name__}s: all must have {len(first)} entries"
            )
        columns = [stack(column) for column in zip(*samples, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else tuple(columns)
    arrays = [sample.detach() if hasattr(sample, "detach") else sample for sample in samples]
    try:
        return np.stack([_numeric(array) for array in arrays])
    except ValueError:
        shapes = ", ".join(sorted({str(np.shape(array)) for array in arrays}))
        raise ValueError(
            f"a batch of samples with shapes {shapes}: all must have the same shape; pad or crop "
            "them"
        ) from None


def _numeric(sample: Any) -> Array:
    array = np.asarray(sample)
    if array.dtype.kind == "O":
        raise TypeError(
            f"a sample contains {type(sample).__name__}; expected arrays, numbers, strings, or "
            "tuples and dictionaries of them"
        )
    return array


def check_indices(indices: Array, length: int) -> Indices:
    """`indices` into `length` samples as a 1-d array of non-negative integers.

    A boolean mask selects; negative numbers count from the end. Raises IndexError or TypeError.
    """
    if indices.dtype == bool and indices.shape == (length,):
        return np.flatnonzero(indices)
    if indices.size == 0:
        indices = indices.astype(np.int64)
    if indices.ndim != 1 or indices.dtype.kind not in "iu":
        raise TypeError(
            f"index: {indices.dtype} of shape {indices.shape}, expected an integer, a slice, "
            f"a 1-d array of integers or {length} booleans"
        )
    indices = indices.astype(np.int64)
    wrong = indices[(indices < -length) | (indices >= length)]
    if wrong.size:
        raise IndexError(f"index {wrong[0]} is out of range: the data set has {length} samples")
    return np.where(indices < 0, indices + length, indices)


def random_split(
    dataset: Any, lengths: Sequence[int] | Sequence[float], seed: int | None = None
) -> list[Subset]:
    """Random disjoint parts, the same for the same seed.

    dataset: a `Dataset`, or any object with a length whose `[i]` returns a sample.
    seed: None draws one from the default generator, which `manual_seed` restarts.
    lengths: numbers of samples that add up to len(dataset), or fractions that add up to 1 (samples
    left over by rounding go to the first parts, one each). Raises ValueError if they do not add up.
    """
    total = len(dataset)
    sizes = [int(length) for length in lengths]
    if any(length < 0 for length in lengths):
        raise ValueError(f"random_split: lengths: {list(lengths)}, expected 0 or more each")
    if sum(sizes) != total or any(isinstance(length, float) for length in lengths):
        if abs(sum(lengths) - 1) > 1e-6:
            raise ValueError(
                f"random_split: lengths: {list(lengths)} add up to {sum(lengths)}, "
                f"expected {total} (samples) or 1 (fractions)"
            )
        sizes = [int(total * length) for length in lengths]
        for part in range(total - sum(sizes)):
            sizes[part % len(sizes)] += 1
    order = permutation(total, default_generator().take_seed() if seed is None else seed)
    return [Subset(dataset, part) for part in np.split(order, np.cumsum(sizes)[:-1])]


def stratified_split(
    labels: npt.ArrayLike, fraction: float = 0.2, seed: int = 0
) -> tuple[Indices, Indices]:
    """Indices (rest, held out), both ascending; `seed` chooses the samples held out.

    Holds out `fraction` of each class, rounded, but at least one sample of a class with two or
    more. Raises ValueError if no class has two.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"stratified_split: fraction: {fraction} is not between 0 and 1")
    labels = np.asarray(labels)
    order = permutation(len(labels), seed)
    by_class = order[np.argsort(labels[order], kind="stable")]
    _, counts = np.unique(labels, return_counts=True)
    if counts.max(initial=0) < 2:
        raise ValueError("no class has two samples, so none can be held out")
    take = np.clip(np.rint(counts * fraction), counts > 1, counts - 1)
    rank = np.concatenate([np.arange(count) for count in counts])
    held = rank < np.repeat(take, counts)
    return np.sort(by_class[~held]), np.sort(by_class[held])


def channel_statistics(images: Array) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of images (N, C, H, W).

    uint8 images are scaled to [0, 1] first. A constant channel gets the standard deviation 1, so
    that dividing by it is harmless.
    """
    if images.dtype == np.uint8:
        mean, std = _statistics_of_bytes(images)
    else:
        mean, std = images.mean((0, 2, 3), np.float64), images.std((0, 2, 3), np.float64)
    std[std < 1e-6] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist())


def _statistics_of_bytes(images: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each channel, scaled to [0, 1], from the counts of the 256
    values: exact, and without floating-point copies of the images."""
    values = np.arange(256) / 255
    counts = np.zeros((images.shape[1], 256), np.int64)
    step = max(1, (1 << 22) // max(1, math.prod(images.shape[1:])))
    for start in range(0, len(images), step):
        for channel in range(images.shape[1]):
            pixels = images[start : start + step, channel].ravel()
            counts[channel] += np.bincount(pixels, minlength=256)
    total = counts.sum(1)
    mean = counts @ values / total
    squares = np.square(values - mean[:, None])
    return mean, np.sqrt((counts * squares).sum(1) / total)


def _check_images(images: Array, labels: Array, classes: int) -> None:
    if images.ndim != 4 or images.dtype not in (np.uint8, np.float32):
        raise ValueError(
            f"ImageDataset: images: {images.dtype} of shape {images.shape}, "
            "expected uint8 or float32 of shape (N, C, H, W)"
        )
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(
            f"ImageDataset: labels: {labels.dtype} of shape {labels.shape}, expected (N,) integers"
        )
    if len(images) != len(labels):
        raise ValueError(f"ImageDataset: {len(images)} images but {len(labels)} labels")
    if classes and len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"ImageDataset: labels: from {labels.min()} to {labels.max()}, "
            f"expected 0 to {classes - 1} for {classes} classes"
        )
