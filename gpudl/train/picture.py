"""Prepares an image file for a trained model and lists the assumptions made."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.data.dataset import Dataset
from gpudl.data.errors import DataError
from gpudl.data.image_file import MOST_PIXELS, Image, read_image, resized, with_channels
from gpudl.train.config import Config
from gpudl.train.errors import TrainingError

Pixels = npt.NDArray[Any]
DARK = 0.4  # mean brightness, 0 to 1, below which training images are light ink on dark paper
INK = 0.35  # brightness, relative to the brightest pixel, above which a pixel counts as ink
LARGEST = 4096  # pixels along a side to which an image is reduced before its ink is found
SHOWN = 1024  # of the original in a picture
SAMPLE = 500  # training images from which the usual extent of ink is measured


@dataclass(frozen=True)
class Picture:
    """original: (H, W) or (H, W, 3) uint8, made smaller if it is large. seen: (C, H, W)
    float32 in [0, 1].

    assumptions: a sentence for each change of the image that its author may not have intended.
    """

    path: Path
    original: Pixels
    seen: Pixels
    assumptions: tuple[str, ...]


def read_picture(path: Path, config: Config, as_is: bool = False) -> Picture:
    """An image file, converted to the size and channels of the model's input.

    If the model was trained on light ink on dark paper, such as digits, an image of another size is
    adapted to that: light paper becomes dark, and the ink is cropped, centred and scaled as in
    training. `as_is` only resizes. Raises TrainingError if the file is not a readable image.
    """
    channels, height, width = config.input_shape
    original, transparent = _read(path)
    notes: list[str] = []
    if transparent:
        notes.append("it is transparent, so it was placed on white")
    if channels == 1 and original.ndim == 3:
        notes.append("it is in colour, so its brightness was used")
    values = with_channels(original, channels)
    extent = config.data.extent
    if values.shape[:2] != (height, width):
        stored = f"{original.shape[1]}x{original.shape[0]}"
        if extent is not None and not as_is:
            values, changes = _isolated(_within(values, LARGEST), extent)
            notes += changes
        if not config.data.stretched:
            values = _filled(path, values, height / width)
        notes.append(f"it was resized from {stored} to {width}x{height}")
    elif extent is not None and not as_is and _paper(values) > 127:
        values = 255 - values
        notes.append(SWAPPED)
    seen = resized(values, height, width).reshape(height, width, channels).transpose(2, 0, 1)
    scaled = np.ascontiguousarray(seen, np.float32) / np.float32(255)
    return Picture(path, _within(original, SHOWN), scaled, tuple(notes))


def _within(pixels: Pixels, side: int) -> Pixels:
    """The pixels, made smaller if the image is longer than `side`."""
    height, width = pixels.shape[:2]
    share = side / max(height, width)
    if share >= 1:
        return pixels
    return resized(pixels, max(1, round(height * share)), max(1, round(width * share)))


def _read(path: Path) -> Image:
    if path.is_dir() or not os.path.lexists(path):
        wrong = "is a folder" if path.is_dir() else "does not exist"
        raise TrainingError(f"{path}: {wrong}; give the path of an image file")
    try:
        return read_image(path)
    except DataError as error:
        raise TrainingError(str(error)) from None


SWAPPED = "its paper is light but was dark in training, so light and dark were swapped"


def framing(part: Dataset) -> dict[str, Any]:
    """How a data set's images fill their frame: `extent` and `stretched` for config.Data."""
    if part.stretched:  # image files: files to predict are resized in the same way
        return {"extent": None, "stretched": True}
    images = part.batch(np.arange(min(len(part), SAMPLE)))[0]
    return {"extent": usual_extent(images), "stretched": False}


def usual_extent(images: Pixels) -> float | None:
    """The share of the frame that ink usually fills in images (N, C, H, W), along its longer side.

    None if they are not light ink on dark paper.
    """
    grey = images[:, 0] / (255 if images.dtype == np.uint8 else 1)
    edges = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
    if images.shape[1] != 1 or grey.mean() > DARK or np.median(edges) > DARK / 2:
        return None
    ink = grey > INK * grey.max(axis=(1, 2), keepdims=True)
    rows, columns = ink.any(axis=2).sum(axis=1), ink.any(axis=1).sum(axis=1)
    return float(np.median(np.maximum(rows / grey.shape[1], columns / grey.shape[2])))


def _paper(grey: Pixels) -> float:
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return float(np.median(edge))


def _isolated(grey: Pixels, extent: float) -> tuple[Pixels, list[str]]:
    """The ink alone, light on black, filling `extent` of a square; and the changes made."""
    notes = []
    paper = _paper(grey)
    if paper > 127:
        grey, paper = 255 - grey, 255 - paper
        notes.append(SWAPPED)
    above = np.maximum(grey.astype(np.float32) - paper, 0)
    brightest = float(np.percentile(above, 99.5)) or float(above.max())
    if brightest < 16:  # most likely an empty sheet
        return grey, notes
    ink = np.minimum(above / brightest, 1)
    rows, columns = (np.flatnonzero((ink > INK).any(axis=axis)) for axis in (1, 0))
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    side = max(1, round(max(cut.shape) / extent))
    canvas = np.zeros((side, side), np.float32)
    top, left = (side - cut.shape[0]) // 2, (side - cut.shape[1]) // 2
    canvas[top : top + cut.shape[0], left : left + cut.shape[1]] = cut
    notes.append("its ink was cropped, centred and scaled as in training")
    return np.rint(canvas * 255).astype(np.uint8), notes


def _filled(path: Path, pixels: Pixels, ratio: float) -> Pixels:
    """The image on a canvas of the given height/width, padded by repeating its edge. Raises
    TrainingError if that would be far larger than an image may be."""
    height, width = pixels.shape[:2]
    wanted_height = max(height, round(width * ratio))
    wanted_width = max(width, round(height / ratio))
    if wanted_height * wanted_width > MOST_PIXELS:
        raise TrainingError(
            f"{path}: {width}x{height} pixels are too long and narrow; cut it or make it smaller"
        )
    above, left = (wanted_height - height) // 2, (wanted_width - width) // 2
    more = [(above, wanted_height - height - above), (left, wanted_width - width - left)]
    return np.pad(pixels, more + [(0, 0)] * (pixels.ndim - 2), mode="edge")
