"""The user's own images and labels in an .npz file."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.data.dataset import ImageDataset, channel_statistics
from gpudl.data.errors import DataError, damaged
from gpudl.data.files import DEFLATE_RATIO, check_labels, regular_size
from gpudl.data.split import Split, hold_out

LIMIT = 1 << 32  # bytes of one array
LARGE, MOST_PACKED = 1 << 28, 200  # bytes above which images that pack so well are no images
# The names of the arrays: (train images, train labels, test images, test labels).
NAMES = (
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("x_train", "y_train", "x_test", "y_test"),
)
Array = npt.NDArray[Any]


def load_npz(path: Path, seed: int = 0) -> Split:
    """The data set in an .npz file.

    It holds `train_images`, `train_labels`, `test_images`, `test_labels` (or `x_train`, `y_train`,
    `x_test`, `y_test`), or `images` and `labels`; of these, a fifth of each class, chosen by
    `seed`, is held out.
    Images: (N, H, W), (N, H, W, C) or (N, C, H, W) with C = 1 or 3, uint8 or floats in [0, 1].
    Labels: (N,) or (N, 1) integers from 0 up. `classes`, if present, names them. Raises DataError
    if something is missing or malformed; arrays of objects are refused.
    """
    arrays = _read_arrays(path)
    names: tuple[str, ...]
    for names in NAMES:
        if all(name in arrays for name in names):
            train, test = _part(path, arrays, names[:2]), _part(path, arrays, names[2:])
            break
    else:
        if "images" not in arrays or "labels" not in arrays:
            raise damaged(
                path,
                f"has the arrays {', '.join(arrays) or 'none'}",
                f"store {', '.join(NAMES[0])}, or images and labels",
            )
        whole = _part(path, arrays, ("images", "labels"))
        train, test = (
            (whole[0][part], whole[1][part]) for part in hold_out(str(path), whole[1], seed)
        )
    count = int(max(labels.max() for _, labels in (train, test) if len(labels))) + 1
    classes = _classes(path, arrays.get("classes"), count)
    mean, std = channel_statistics(train[0])
    return Split(*(ImageDataset(*part, classes, mean, std) for part in (train, test)))


def _read_arrays(path: Path) -> dict[str, Array]:
    size = regular_size(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
            return {
                member.filename[:-4]: _read_array(path, archive, member, size) for member in members
            }
    except DataError:
        raise
    # The readers of zip files and .npy headers raise many types of exception for damaged files.
    except Exception as error:
        raise damaged(path, f"is not a readable .npz file ({str(error)[:80]})") from None


def _read_array(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo, size: int) -> Array:
    if member.file_size > min(LIMIT, size * DEFLATE_RATIO):
        raise damaged(
            path,
            f"{member.filename} claims {member.file_size} bytes, more than the file can hold",
        )
    if member.file_size > max(LARGE, MOST_PACKED * member.compress_size):
        raise damaged(
            path,
            f"{member.filename} unpacks to {member.file_size} bytes, more than "
            f"{MOST_PACKED} times its size in the file",
            "save it with numpy.savez, which does not compress",
        )
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise damaged(path, f"{member.filename} has .npy version {version}, expected 1 or 2")
        read = np.lib.format.read_array_header_1_0
        if version == (2, 0):
            read = np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
        if dtype.hasobject:
            raise damaged(path, f"{member.filename} holds objects", "store plain numbers")
        left = member.file_size - stream.tell()
        valid = all(type(n) is int and n >= 0 for n in shape)
        if not valid or math.prod(shape) * dtype.itemsize != left:
            raise damaged(
                path, f"{member.filename} claims shape {shape} of {dtype} but has {left} bytes"
            )
        content = np.frombuffer(stream.read(left), np.uint8)  # only now: it may be large
    if len(content) != left:
        raise damaged(path, f"{member.filename} ends too early")
    return content.view(dtype).reshape(shape, order="F" if fortran else "C")


def _part(path: Path, arrays: dict[str, Array], names: tuple[str, ...]) -> tuple[Array, Array]:
    images, labels = _images(path, names[0], arrays[names[0]]), arrays[names[1]]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != len(images):
        raise damaged(
            path,
            f"{names[1]} has shape {labels.shape}, expected ({len(images)},) to match {names[0]}",
            "store one label per image",
        )
    check_labels(path, labels, 1 << 16, "store a label for each image, a whole number from 0 up")
    return images, labels.astype(np.int64)


def _images(path: Path, name: str, images: Array) -> Array:
    """(N, C, H, W), uint8 or float32."""
    original = images.shape
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or 0 in images.shape or images.shape[1] not in (1, 3):
        raise damaged(
            path,
            f"{name} has shape {original}",
            "store (N, H, W), (N, H, W, C) or (N, C, H, W) with 1 or 3 channels",
        )
    if images.dtype.kind == "f" and (images >= 0).all() and (images <= 1).all():
        return np.ascontiguousarray(images, np.float32)
    if images.dtype != np.uint8:
        raise damaged(path, f"{name} has dtype {images.dtype}", "store uint8, or floats in [0, 1]")
    return np.ascontiguousarray(images)


def _classes(path: Path, names: Array | None, count: int) -> tuple[str, ...]:
    if names is None:
        return tuple(map(str, range(count)))
    if names.ndim != 1 or names.dtype.kind != "U" or len(names) < count:
        raise damaged(
            path,
            f"classes is {names.dtype} of shape {names.shape}, but labels go up to {count - 1}",
            f"store at least {count} names",
        )
    return tuple(names.tolist())
