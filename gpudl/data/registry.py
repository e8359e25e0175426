"""The data sets by name, and `load`.

A module in `gpudl/data/sets` registers its data sets with a decorator; nothing else has to know of
them.
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

from gpudl.data.dataset import Dataset, ImageDataset
from gpudl.data.errors import DataError, NoImagesError
from gpudl.data.resized import Resized
from gpudl.data.shuffle import check_seed
from gpudl.data.split import Split
from gpudl.data.transforms import Size, resize

AT_ONCE = 1 << 28  # numbers that are resized when they are read; of more, each batch on its way


@dataclass(frozen=True)
class Request:
    """What was asked of `load`.

    seed: draws the held-out fifth where a data set has no published test part.
    size: (height, width) of the images, None for their own.
    """

    data_dir: Path | None
    download: bool
    seed: int
    size: Size | None


@dataclass(frozen=True)
class Info:
    """A data set that `load` knows by name.

    shape: of a sample, (C, H, W) of an image, (characters,) of a window of text.
    classes: names of the labels; of text, its characters.
    mean, std: per channel, of the training images scaled to [0, 1]; None where they depend on the
        request.
    origin: whose it is, where it is described, its licence.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    origin: str
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    read: Callable[[Info, Request], Split]

    def images(self, images: np.ndarray, labels: np.ndarray) -> ImageDataset:
        """The data set of these images, with the names and statistics of this one."""
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
) -> Callable[[Reader], Reader]:
    """Decorator: makes `load(name)` call the function with (Info, Request); it returns a Split."""

    def add(read: Reader) -> Reader:
        if _key(name) in _INFOS:
            raise ValueError(f"register: name: {name!r} is taken; choose another")
        _INFOS[_key(name)] = Info(name, title, shape, classes, origin, mean, std, read)
        return read

    return add


def names() -> list[str]:
    """The names that `load` knows."""
    return sorted(info.name for info in _infos().values())


def info(name: str) -> Info:
    """What is known of a data set before it is read. Raises DataError for an unknown name."""
    found = _infos().get(_key(name))
    if found is None:
        raise _unknown(name)
    return found


def load(
    name: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    size: Size | None = None,
    seed: int = 0,
    download: bool = True,
) -> Split:
    """The training and the test part of a data set.

    name: one of `names()` (upper case, '-' and '_' do not matter), or the path of a folder of
        images by class, of an .npz file or of a text, a .txt file.
    data_dir: where the files are looked for first; then the environment variable GPUDL_DATA, then
        the user's cache. `<dir>/<name>/`, torchvision's folders and `<dir>` itself are looked
        through. What is nowhere is downloaded to `<data_dir>/<name>`, or to the cache without
        data_dir, unless `download` is False.
    size: resizes the images, (height, width) or one number for both.
    seed: draws the held-out fifth, class by class, where there is no published test part.
    Raises DataError, which names the file, where something is missing or damaged.
    """
    directory = None if data_dir is None else Path(data_dir).expanduser()
    request = Request(directory, download, check_seed(seed), size)
    path = Path(name).expanduser()
    if isinstance(name, str) and _key(name) in _infos():
        found = info(name)
        return _resized(found.read(found, request), size)
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
        wrong = "is no folder, .npz or .txt file" if path.exists() else "is not there"
        raise DataError(
            f"{path}: {wrong}; give a folder of images by class, an .npz file, a .txt file "
            f"or one of {', '.join(names())}"
        )
    raise _unknown(str(name))


def _resized(split: Split, size: Size | None) -> Split:
    return split if size is None else Split(*(_resize_part(part, size) for part in split))


def _resize_part(part: Dataset, size: Size) -> Dataset:
    if len(part.shape) != 3:
        raise NoImagesError("size: the data set has no images; leave it away")
    height, width = (size, size) if isinstance(size, int) else size
    if part.shape[1:] == (height, width):
        return part
    if len(part) * part.shape[0] * height * width > AT_ONCE:
        return Resized(part, (height, width))
    # In pieces: in between, the values are float32, four times as large as they are kept.
    pieces = [
        resize(part.batch(piece)[0], size)
        for piece in np.array_split(np.arange(len(part)), -(-len(part) // 4096))
    ]
    return ImageDataset(np.concatenate(pieces), part.labels, part.classes, part.mean, part.std)


def _infos() -> dict[str, Info]:
    """All data sets, after importing every module of the package `sets`."""
    from gpudl.data import sets

    for module in pkgutil.iter_modules(sets.__path__, f"{sets.__name__}."):
        importlib.import_module(module.name)
    return _INFOS


def _unknown(name: str) -> DataError:
    close = difflib.get_close_matches(name.lower(), names(), n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return DataError(
        f"there is no data set {name!r}{hint}; known are {', '.join(names())}, "
        "otherwise give a folder of images by class, an .npz file or a .txt file"
    )


def _key(name: str) -> str:
    """Spellings of one name have one key; what may be a path, with dots or slashes, keeps them."""
    return name.lower().replace("-", "").replace("_", "")
