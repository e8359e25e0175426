"""Reads image files. Training and prediction share these functions, so a model always sees the
same pixels for the same file.

Images are turned upright, transparent pixels become white, and all number formats are scaled to
8 bits.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gpudl.core.files import expanded
from gpudl.data.errors import DataError, damaged
from gpudl.data.files import regular_size

Pixels = npt.NDArray[np.uint8]
MOST_PIXELS = 1 << 26  # per stored image, which takes up to 1 GB of memory
GREY = ("1", "L", "LA", "La", "F", "I")  # Pillow's modes without colour, including wide ones
WIDE = ("F", "I")  # modes whose values Pillow would clip at 255
ORIENTATION, TURNED = 0x0112, (5, 6, 7, 8)  # Exif tag; its values that exchange height and width


class Image(NamedTuple):
    """pixels: (H, W) grey or (H, W, 3) colour. transparent: whether the file had transparency,
    which is now on white."""

    pixels: Pixels
    transparent: bool


def measure(path: Path) -> tuple[tuple[int, int], int]:
    """((height, width), channels) of an image file, from its header. Raises DataError."""
    with _opened(path) as image:
        turned = image.getexif().get(ORIENTATION, 1) in TURNED
        size = (image.width, image.height) if turned else (image.height, image.width)
        return size, 1 if _is_grey(image) else 3


def read_image(path: Path) -> Image:
    """An image file's pixels in 8 bits. Raises DataError if it is missing, damaged or not an image.

    16-bit values are scaled so that 65535 becomes 255, floating-point values up to 1 so that 1
    becomes 255.
    """
    with _opened(path) as image:
        return _decode(image)


def load_image(path: str | os.PathLike[str], shape: tuple[int, int, int]) -> Pixels:
    """An image file as uint8 (C, H, W) of this shape, as in a folder of images by class.

    One channel is grey, three are colour; other heights and widths are stretched.

    Raises DataError if the file is missing, damaged or not an image.
    """
    channels, height, width = shape
    pixels = resized(with_channels(read_image(expanded(path)).pixels, channels), height, width)
    return np.ascontiguousarray(pixels.reshape(height, width, channels).transpose(2, 0, 1))


def with_channels(pixels: Pixels, channels: int) -> Pixels:
    """The pixels as (H, W) for 1 channel, (H, W, 3) for 3. Colour becomes its luma (ITU-R 601)."""
    if channels == 1 and pixels.ndim == 3:
        return np.asarray(_pillow().fromarray(pixels).convert("L"))
    if channels == 3 and pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return pixels


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """Bilinear. When it shrinks, Pillow's filter averages the pixels that are merged."""
    if pixels.shape[:2] == (height, width):
        return pixels
    image = _pillow().fromarray(pixels)
    return np.asarray(image.resize((width, height), _pillow().Resampling.BILINEAR))


FIX = "save it again as PNG, or remove it"


def _pillow() -> Any:
    from PIL import Image

    return Image


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Pillow's image; errors inside the block become a DataError that names the file."""
    with _open(path) as image:
        try:
            yield image
        # Pillow's readers raise many types of exception for damaged files.
        except Exception as error:
            raise damaged(path, f"is a damaged image ({_short(path, error)})", FIX) from None


def _open(path: Path) -> Any:
    try:
        pillow = _pillow()
    except ImportError:
        raise DataError(
            f"{path}: reading images needs Pillow; pip install 'gpudl[train]'"
        ) from None
    regular_size(path)
    try:
        image = pillow.open(path)
    except Exception as error:
        reason = _short(path, error)
        raise damaged(path, f"is not a readable image ({reason})", FIX) from None
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise damaged(
            path,
            f"has {image.width}x{image.height} pixels; at most {MOST_PIXELS} are allowed",
            "make it smaller",
        )
    return image


def _short(path: Path, error: Exception) -> str:
    return str(error).replace(f" {str(path)!r}", "")[:80]


def _is_grey(image: Any) -> bool:
    return image.mode in GREY or image.mode.startswith("I;16")


def _decode(image: Any) -> Image:
    from PIL import ImageOps

    grey = _is_grey(image)
    upright = ImageOps.exif_transpose(image)
    transparent = "A" in upright.getbands() or "a" in upright.getbands()
    transparent = transparent or "transparency" in upright.info
    if upright.mode in WIDE or upright.mode.startswith("I;16"):
        return Image(_eight_bits(np.asarray(upright, np.float64), upright.mode), False)
    if transparent:
        solid = upright.convert("RGBA")
        paper = _pillow().new("RGBA", solid.size, "white")
        paper.alpha_composite(solid)
        upright = paper
    return Image(np.asarray(upright.convert("L" if grey else "RGB")), transparent)


def _eight_bits(values: npt.NDArray[np.float64], mode: str) -> Pixels:
    low, high = float(values.min()), float(values.max())
    if not 0 <= low <= high <= 65535:  # also for NaN
        raise ValueError(f"its values range from {low:g} to {high:g}, expected 0 to 65535")
    top = 65535.0
    if mode == "F" and high <= 255:
        top = 1.0 if high <= 1 else 255.0
    return np.rint(values * (255 / top)).astype(np.uint8)
