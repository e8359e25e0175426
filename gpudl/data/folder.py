"""A folder of images with one subfolder per class."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.data.dataset import Dataset, Indices, Subset, channel_statistics
from gpudl.data.errors import DataError
from gpudl.data.image_file import load_image, measure
from gpudl.data.split import Split, hold_out
from gpudl.data.transforms import Size

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
TRAIN, TEST = ("train", "training"), ("test", "val", "valid", "validation")
SAMPLE, MOST_VALUES = 1000, 1 << 28  # used for the statistics: images, and values in them
IGNORED = ("__MACOSX", "@eaDir")  # folders that macOS and NAS devices add


class ImageFolder(Dataset):
    """Images in `root/<class>/…`, read from disk on demand; classes are sorted by name.

    size: (height, width) to resize to, or one number for both; None for that of the first image.
    channels: 1 (grey) or 3 (colour); None for those of the first image.
    classes: the expected names, in order; None for those of the subfolders.
    Images are uint8 (C, H, W), turned upright, with transparency on white. Hidden files and folders
    are ignored; links are followed. Needs Pillow. Raises DataError for a folder or class without
    images, and when an unreadable image is requested.
    """

    from_files = True

    def __init__(
        self,
        root: Path,
        size: Size | None = None,
        channels: int | None = None,
        classes: Sequence[str] | None = None,
    ) -> None:
        self.root = root
        self.classes = tuple(classes) if classes is not None else tuple(_subfolders(root))
        self.paths, self._labels = _list_images(root, self.classes)
        if classes is None:
            self._check_classes()
        if size is None or channels is None:
            first_size, first_channels = measure(self.paths[0])
            size, channels = size or first_size, channels or first_channels
        height, width = (size, size) if isinstance(size, int) else size
        if channels not in (1, 3) or height < 1 or width < 1:
            raise ValueError(
                f"ImageFolder: size {size}, channels {channels}: "
                "expected positive sizes and 1 or 3 channels"
            )
        self._shape = (channels, height, width)

    def _check_classes(self) -> None:
        counts = np.bincount(self._labels, minlength=len(self.classes))
        if empty := [name for name, count in zip(self.classes, counts, strict=True) if not count]:
            raise DataError(
                f"{self.root / empty[0]}: has no images; add some or remove the folder "
                f"(formats: {' '.join(SUFFIXES)})"
            )

    def __len__(self) -> int:
        return len(self.paths)

    def sample(self, index: int) -> tuple[npt.NDArray[Any], ...]:
        return load_image(self.paths[index], self._shape), self._labels[index]

    @property
    def stretched(self) -> bool:
        shown = np.linspace(0, len(self) - 1, min(len(self), SAMPLE)).astype(np.int64)
        return any(measure(self.paths[index])[0] != self.shape[1:] for index in shown)

    @property
    def labels(self) -> Indices:
        return self._labels

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    def __repr__(self) -> str:
        return (
            f"ImageFolder({self.root}: {len(self)} images {self.shape}, "
            f"{len(self.classes)} classes)"
        )


def load_folder(root: Path, size: Size | None = None, seed: int = 0) -> Split:
    """The data set in `root/train/<class>/…` and `root/test/<class>/…` (or val).

    Without a folder test, val, valid or validation is the test part; otherwise these are ignored.
    Without any of them, or with `root/<class>/…` alone, a fifth of each class, chosen by `seed`, is
    held out. Raises DataError if there is a test part but no training part.
    """
    parts = {path.name.lower(): path for path in _subfolders(root).values()}
    train_path = next((parts[name] for name in TRAIN if name in parts), None)
    test_path = next((parts[name] for name in TEST if name in parts), None)
    if test_path and not train_path and set(parts) <= set(TEST):
        raise DataError(f"{root}: has {test_path.name} but no {TRAIN[0]}; add the training images")
    train: Dataset
    test: Dataset
    if train_path and test_path:
        folder = ImageFolder(train_path, size)
        train = folder
        test = ImageFolder(test_path, folder.shape[1:], folder.shape[0], folder.classes)  # type: ignore[arg-type]
    else:
        folder = ImageFolder(train_path or root, size)
        train, test = (Subset(folder, part) for part in hold_out(str(root), folder.labels, seed))
    count = min(len(train), SAMPLE, max(1, MOST_VALUES // math.prod(folder.shape)))
    chosen = np.unique(np.linspace(0, len(train) - 1, count).astype(np.int64))
    mean, std = channel_statistics(train.batch(chosen)[0])
    for part in (train, test):
        part.mean, part.std = mean, std
    return Split(train, test)


def _subfolders(root: Path) -> dict[str, Path]:
    try:
        entries = sorted(root.iterdir())
    except OSError as error:
        raise DataError(f"{root}: cannot be read ({error.strerror}); check its name") from None
    return {path.name: path for path in entries if _counts(path.name) and path.is_dir()}


def _counts(name: str) -> bool:
    return not name.startswith(".") and name not in IGNORED


def _list_images(root: Path, classes: Sequence[str]) -> tuple[list[Path], Indices]:
    subfolders = _subfolders(root)
    if unknown := sorted(set(subfolders) - set(classes)):
        raise DataError(
            f"{root}: has the class {unknown[0]}, which the training part lacks; "
            "give both the same classes"
        )
    paths, labels = [], []
    for label, name in enumerate(classes):
        images = images_below(subfolders[name]) if name in subfolders else []
        paths += images
        labels += [label] * len(images)
    if not paths:
        raise DataError(
            f"{root}: has no images; put the images of each class into a subfolder with its name "
            f"(formats: {' '.join(SUFFIXES)})"
        )
    return paths, np.array(labels, np.int64)


def images_below(root: Path) -> list[Path]:
    """The image files in a folder and its subfolders, following links and skipping hidden files."""
    images: list[Path] = []
    seen: set[str] = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        subfolders[:] = [name for name in subfolders if _counts(name) and real not in seen]
        if real not in seen:  # a link can point to a parent folder
            images += (Path(folder, name) for name in files if _counts(name))
        seen.add(real)
    return sorted(path for path in images if path.suffix.lower() in SUFFIXES)
