"""The data sets by name, and `load`.

A module in `gpudl/data/sets` registers its data sets with a decorator; nothing else needs editing.
"""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpudl.core.files import expanded
from gpudl.data.dataset import Dataset, ImageDataset
from gpudl.data.errors import DataError, NoImagesError
from gpudl.data.resized import Resized
from gpudl.data.shuffle import check_seed
from gpudl.data.sources import Source
from gpudl.data.split import Split
from gpudl.data.transforms import Size, resize

AT_ONCE = 1 << 28  # values; larger results are resized batch by batch


@dataclass(frozen=True)
class Request:
    """The arguments of `load`.

    seed: chooses the held-out fifth of a data set without a published test part.
    size: (height, width) of the images, None for their own.
    """

    data_dir: Path | None
    download: bool
    seed: int
    size: Size | None


@dataclass(frozen=True)
class Info:
    """A data set that `load` knows by name.

    shape: of a sample; (C, H, W) for images, (characters,) for windows of text.
    classes: names of the labels; for text, its characters.
    mean, std: per channel, of the training images scaled to [0, 1]; None if they depend on the
        request.
    origin: authors, source and licence.
    source: where its files may be; None if they come with gpudl.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    origin: str
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    source: Source | None
    read: Callable[[Info, Request], Split]

    def images(self, images: np.ndarray, labels: np.ndarray) -> ImageDataset:
        """A data set of these images, with this one's class names and statistics."""
        return ImageDataset(images, labels, self.classes, self.mean, self.std)


_INFOS: dict[str, Info] = {}
Reader = Callable[[Info, Request], Split]


def register(
    name: str,
    *,
    title: str,
    shape: tuple[int, ...],
    classes: tuple[str, ...],
    origin: str,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    source: Source | None = None,
) -> Callable[[Reader], Reader]:
    """Decorator: `load(name)` calls the function with (Info, Request) and returns its Split."""

    def add(read: Reader) -> Reader:
        if _key(name) in _INFOS:
            raise ValueError(f"register: name: {name!r} is taken; choose another")
        _INFOS[_key(name)] = Info(name, title, shape, classes, origin, mean, std, source, read)
        return read

    return add


def names() -> list[str]:
    """The names that `load` knows."""
    return sorted(info.name for info in _infos().values())


def info(name: str) -> Info:
    """What is known about a data set before it is read. Raises DataError for an unknown name."""
    entry = _infos().get(_key(name))
    if entry is None:
        raise _unknown(name)
    return entry


def load(
    name: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    size: Size | None = None,
    seed: int = 0,
    download: bool = True,
) -> Split:
    """The training and test parts of a data set.

    name: one of `names()` (ignoring case, '-' and '_'), or the path of a folder of images by
        class, an .npz file or a .txt file.
    data_dir: the folder to search first, before that in the environment variable GPUDL_DATA and
        the user's cache. In each, `<dir>/<name>/`, torchvision's folders and `<dir>` itself are
        searched. Missing files are downloaded to `<data_dir>/<name>`, or to the cache without
        data_dir, unless `download` is False.
    size: resizes images to (height, width), or one number for both.
    seed: chooses the held-out fifth of each class if there is no published test part.
    Raises DataError, which names the file, if something is missing or damaged.
    """
    if data_dir is not None and not os.fspath(data_dir):  # Path("") is the current folder
        raise DataError("data_dir is empty; give a folder, or None to search for the data")
    directory = None if data_dir is None else expanded(data_dir)
    request = Request(directory, download, check_seed(seed), size)
    path = expanded(name)
    if isinstance(name, str) and _key(name) in _infos():
        entry = info(name)
        return _resized(entry.read(entry, request), size)
    if path.suffix == ".npz":
        from gpudl.data.npz import load_npz

        return _resized(load_npz(path, seed=request.seed), size)
    if path.suffix == ".txt":
        from gpudl.data.text import load_text

        return _resized(load_text(path), size)
    if str(name) and path.is_dir():
        from gpudl.data.folder import load_folder

        return load_folder(path, size=size, seed=request.seed)
    if str(name) and (path.exists() or path.name != str(name)):
        wrong = "is not a folder, .npz or .txt file" if path.exists() else "does not exist"
        raise DataError(
            f"{path}: {wrong}; give a folder of images by class, an .npz file, a .txt file "
            f"or one of {', '.join(names())}"
        )
    raise _unknown(str(name))


def _resized(split: Split, size: Size | None) -> Split:
    return split if size is None else Split(*(_resize_part(part, size) for part in split))


def _resize_part(part: Dataset, size: Size) -> Dataset:
    if len(part.shape) != 3:
        raise NoImagesError("size: the data set has no images; leave size out")
    height, width = (size, size) if isinstance(size, int) else size
    if part.shape[1:] == (height, width):
        return part
    if len(part) * part.shape[0] * height * width > AT_ONCE:
        return Resized(part, (height, width))
    # In pieces, because resizing works in float32, four times the size of uint8.
    pieces = [
        resize(part.batch(piece)[0], size)
        for piece in np.array_split(np.arange(len(part)), -(-len(part) // 4096))
    ]
    return ImageDataset(np.concatenate(pieces), part.labels, part.classes, part.mean, part.std)


def _infos() -> dict[str, Info]:
    """All data sets; imports every module of the package `sets`."""
    from gpudl.data import sets

    for module in pkgutil.iter_modules(sets.__path__, f"{sets.__name__}."):
        importlib.import_module(module.name)
    return _INFOS


def _unknown(name: str) -> DataError:
    close = difflib.get_close_matches(name.lower(), names(), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return DataError(
        f"unknown data set {name!r}{hint}; expected one of {', '.join(names())}, "
        "or a folder of images by class, an .npz file or a .txt file"
    )


def _key(name: str) -> str:
    """One key for all spellings of a name. Dots and slashes stay, so no path becomes a name."""
    return name.lower().replace("-", "").replace("_", "")
