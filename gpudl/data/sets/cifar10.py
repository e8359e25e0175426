"""CIFAR-10: 60,000 photographs of 32x32 pixels in ten classes.

Source of the formats: A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html. The binary
version has, for each image, a label byte, then 1024 red, 1024 green and 1024 blue values, row by
row. The Python version is a pickle with the same values in `data` and `labels`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.data.archive import read_members
from gpudl.data.dataset import ImageDataset
from gpudl.data.errors import damaged
from gpudl.data.files import check_labels, opened
from gpudl.data.packed import unpack_images
from gpudl.data.pickles import read_pickle
from gpudl.data.registry import Info, Request, register
from gpudl.data.sources import Layout, Remote, Source
from gpudl.data.split import Split

SHAPE = (3, 32, 32)
VALUES = 3 * 32 * 32
CLASSES = 10
RECORD = 1 + VALUES
MOST = 10000  # images in one file
LIMIT = MOST * RECORD + (1 << 20)  # bytes of one file: the Python version adds file names
BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")

Part = tuple[npt.NDArray[np.uint8], npt.NDArray[np.integer[Any]]]  # images (N, 3072), labels


def _layout(kind: str, pattern: str) -> Layout:
    return Layout(kind, tuple((pattern.format(batch),) for batch in BATCHES))


SOURCE = Source(
    "cifar-10",
    ("cifar-10", "cifar10", "CIFAR10"),
    (
        _layout("binary", "{}.bin"),
        _layout("binary", "cifar-10-batches-bin/{}.bin"),
        _layout("python", "cifar-10-batches-py/{}"),
        _layout("python", "{}"),
        Layout("binary archive", (("cifar-10-binary.tar.gz",),)),
        Layout("python archive", (("cifar-10-python.tar.gz",),)),
        _layout("packed", "{}.med.xz"),
    ),
    (
        Remote(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "md5:c32a1d4ab5d03f1284b67883e8d87530",
        ),
    ),
)


@register(
    "cifar-10",
    title="CIFAR-10 photographs",
    shape=SHAPE,
    classes=(
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    ),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    origin="A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    source=SOURCE,
)
def read_cifar10(info: Info, request: Request) -> Split:
    """50,000 training and 10,000 test images, from whichever published form is present."""
    files = SOURCE.find(request.data_dir, request.download)
    parts = list(READERS[files.kind](files.paths))
    return Split(_join(info, parts[:-1]), _join(info, parts[-1:]))


def _join(info: Info, parts: list[Part]) -> ImageDataset:
    images = np.concatenate([images for images, _ in parts]).reshape(-1, *SHAPE)
    return info.images(images, np.concatenate([labels for _, labels in parts]))


def parse_binary(path: Path, data: bytes) -> Part:
    """The records in `data`, the content of `path`. Raises DataError for a partial record."""
    if len(data) % RECORD or not 0 < len(data) <= MOST * RECORD:
        raise damaged(
            path,
            f"truncated or damaged: has {len(data)} bytes, expected a multiple of {RECORD} "
            f"up to {MOST * RECORD}",
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    check_labels(path, records[:, 0], CLASSES)
    return records[:, 1:], records[:, 0]


def parse_python(path: Path, data: bytes) -> Part:
    """The batch in the pickle `data` of `path`. Raises DataError if it is not a CIFAR batch."""
    batch = read_pickle(path, data)
    images, labels = batch.get(b"data"), batch.get(b"labels")
    if not isinstance(images, np.ndarray) or images.ndim != 2 or images.shape[1] != VALUES:
        raise damaged(path, f"has no array 'data' of shape (N, {VALUES})")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise damaged(path, "has no list 'labels' of integers")
    if len(labels) != len(images):
        raise damaged(path, f"has {len(images)} images but {len(labels)} labels")
    # Python's integers may not fit an array; those are out of range as well.
    numbers = np.array([label if 0 <= label < CLASSES else -1 for label in labels], np.int64)
    check_labels(path, numbers, CLASSES)
    return images, numbers


def _read_files(parse: Callable[[Path, bytes], Part], paths: list[Path]) -> Iterable[Part]:
    for path in paths:
        with opened(path) as file:
            content = file.rest(LIMIT)
        yield parse(path, content)


def _read_archive(parse: Callable[[Path, bytes], Part], suffix: str, path: Path) -> Iterable[Part]:
    names = [batch + suffix for batch in BATCHES]
    members = read_members(path, names, LIMIT)
    return [parse(path / name, members[name]) for name in names]


def _read_packed(paths: list[Path]) -> Iterable[Part]:
    # Decompression and NumPy release the GIL: two threads are nearly twice as fast.
    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(unpack_images, paths))
    for path, (_, labels) in zip(paths, parts, strict=True):
        check_labels(path, labels, CLASSES)
    return parts


READERS: dict[str, Callable[[list[Path]], Iterable[Part]]] = {
    "binary": lambda paths: _read_files(parse_binary, paths),
    "python": lambda paths: _read_files(parse_python, paths),
    "binary archive": lambda paths: _read_archive(parse_binary, ".bin", paths[0]),
    "python archive": lambda paths: _read_archive(parse_python, "", paths[0]),
    "packed": _read_packed,
}
