"""A folder of images with one subfolder per class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.data.dataset import Dataset, Indices, Subset, channel_statistics
from gpudl.data.errors import DataError, damaged
from gpudl.data.files import regular_size
from gpudl.data.split import Split, hold_out
from gpudl.data.transforms import Size

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
TRAIN, TEST = ("train", "training"), ("test", "val", "valid", "validation")
MOST_PIXELS = 1 << 27  # of one stored image
SAMPLE = 1000  # images used for the statistics
GREY = ("1", "L", "LA", "I", "I;16", "F")  # Pillow's modes without colour


class ImageFolder(Dataset):
    """Images in `root/<class>/…`, read from disk on demand; classes are sorted by name.

    size: (height, width) to resize to, or one number for both; None for that of the first image.
    channels: 1 (grey) or 3 (colour); None for those of the first image.
    classes: the expected names, in order; None for those of the subfolders.
    Images are uint8 (C, H, W). Needs Pillow. Raises DataError for a folder without images, and when
    an image that cannot be read is requested.
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
        if size is None or channels is None:
            first_size, first_channels = _measure(self.paths[0])
            size, channels = size or first_size, channels or first_channels
        height, width = (size, size) if isinstance(size, int) else size
        if channels not in (1, 3) or height < 1 or width < 1:
            raise ValueError(
                f"ImageFolder: size {size}, channels {channels}: "
                "expected positive sizes and 1 or 3 channels"
            )
        self._shape = (channels, height, width)

    def __len__(self) -> int:
        return len(self.paths)

    def sample(self, index: int) -> tuple[npt.NDArray[Any], ...]:
        return _read_image(self.paths[index], self._shape), self._labels[index]

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

    Without a test folder, or with `root/<class>/…` alone, a fifth of each class, chosen by `seed`,
    is held out.
    """
    parts = {path.name.lower(): path for path in _subfolders(root).values()}
    train_path = next((parts[name] for name in TRAIN if name in parts), None)
    test_path = next((parts[name] for name in TEST if name in parts), None)
    train: Dataset
    test: Dataset
    if train_path and test_path:
        folder = ImageFolder(train_path, size)
        train = folder
        test = ImageFolder(test_path, folder.shape[1:], folder.shape[0], folder.classes)  # type: ignore[arg-type]
    else:
        folder = ImageFolder(train_path or root, size)
        train, test = (Subset(folder, part) for part in hold_out(str(root), folder.labels, seed))
    chosen = np.unique(np.linspace(0, len(train) - 1, min(len(train), SAMPLE)).astype(np.int64))
    mean, std = channel_statistics(train.batch(chosen)[0])
    for part in (train, test):
        part.mean, part.std = mean, std
    return Split(train, test)


def _subfolders(root: Path) -> dict[str, Path]:
    try:
        entries = sorted(root.iterdir())
    except OSError as error:
        raise DataError(f"{root}: cannot be read ({error.strerror}); check its name") from None
    return {path.name: path for path in entries if path.is_dir() and path.name[0] != "."}


def _list_images(root: Path, classes: Sequence[str]) -> tuple[list[Path], Indices]:
    subfolders = _subfolders(root)
    if unknown := sorted(set(subfolders) - set(classes)):
        raise DataError(
            f"{root}: has the class {unknown[0]}, which the training part lacks; "
            "give both the same classes"
        )
    paths, labels = [], []
    for label, name in enumerate(classes):
        files = sorted(subfolders[name].rglob("*")) if name in subfolders else []
        images = [path for path in files if path.suffix.lower() in SUFFIXES and path.is_file()]
        paths += images
        labels += [label] * len(images)
    if not paths:
        raise DataError(
            f"{root}: has no images; put the images of each class into a subfolder with its name "
            f"(formats: {' '.join(SUFFIXES)})"
        )
    return paths, np.array(labels, np.int64)


def _open(path: Path) -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise DataError(f"{path}: reading images needs Pillow; pip install pillow") from None
    regular_size(path)
    try:
        image = Image.open(path)
    # Pillow's readers raise many types of exception for damaged files.
    except Exception as error:
        raise damaged(path, f"is not a readable image ({str(error)[:80]})") from None
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise damaged(
            path,
            f"has {image.width}x{image.height} pixels, at most {MOST_PIXELS} are allowed",
            "make it smaller",
        )
    return image


def _measure(path: Path) -> tuple[tuple[int, int], int]:
    """((height, width), channels) of an image."""
    with _open(path) as image:
        return (image.height, image.width), 1 if image.mode in GREY else 3


def _read_image(path: Path, shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    from PIL import Image

    channels, height, width = shape
    with _open(path) as image:
        try:
            converted = image.convert("L" if channels == 1 else "RGB")
            if converted.size != (width, height):
                converted = converted.resize((width, height), Image.Resampling.BILINEAR)
            pixels = np.asarray(converted).reshape(height, width, channels)
        except Exception as error:
            raise damaged(path, f"is a damaged image ({str(error)[:80]})") from None
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))
