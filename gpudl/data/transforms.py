"""Transforms of images before they reach the model, in NumPy, a whole batch at a time.

The functions take images (N, C, H, W), uint8 or float32, and return new ones. The classes hold
their parameters, under torchvision's names, and are called by the loader as `transform(images,
rng)`, with a generator drawn from (seed, epoch, batch). Any function of (images, rng) can replace
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[Any]
Transform = Callable[[Images, np.random.Generator], Images]
Size = int | tuple[int, int]


def to_float(images: Images) -> Images:
    """float32 in [0, 1] from uint8; float32 images are returned unchanged."""
    _check("to_float", images)
    if images.dtype == np.uint8:
        scaled: Images = np.divide(images, np.float32(255), dtype=np.float32)
        return scaled
    return images


def normalize(images: Images, mean: Sequence[float], std: Sequence[float]) -> Images:
    """(images - mean) / std, per channel. Raises ValueError for uint8: apply `to_float` first."""
    _check("normalize", images)
    if images.dtype == np.uint8:
        raise ValueError("normalize: images: uint8, expected float32; apply to_float first")
    channels = images.shape[1]
    if not len(mean) == len(std) == channels or not all(value > 0 for value in std):
        raise ValueError(
            f"normalize: mean {tuple(mean)} and std {tuple(std)}: expected {channels} numbers each "
            "(one per channel), std above 0"
        )
    shape = (channels, 1, 1)
    centred = images - np.asarray(mean, np.float32).reshape(shape)
    centred /= np.asarray(std, np.float32).reshape(shape)
    return centred


def pad(images: Images, padding: Size, value: float = 0) -> Images:
    """`padding` pixels of `value` on every side; a pair is (above and below, left and right)."""
    _check("pad", images)
    rows, columns = _pair("pad", "padding", padding, least=0)
    n, c, h, w = images.shape
    padded = np.full((n, c, h + 2 * rows, w + 2 * columns), value, images.dtype)
    padded[:, :, rows : rows + h, columns : columns + w] = images
    return padded


def random_crop(
    images: Images, rng: np.random.Generator, size: Size, padding: Size = 0, value: float = 0
) -> Images:
    """A window of `size` (height, width) at a random position of each image, which is padded first.

    Raises ValueError if the padded images are smaller than the window.
    """
    height, width = _pair("random_crop", "size", size)
    padded = pad(images, padding, value)
    n, _, h, w = padded.shape
    if height > h or width > w:
        raise ValueError(
            f"random_crop: size: {height}x{width} is larger than the padded images, {h}x{w}"
        )
    top = rng.integers(0, h - height + 1, n)
    left = rng.integers(0, w - width + 1, n)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (height, width), axis=(2, 3))
    return windows[np.arange(n), :, top, left]


def random_horizontal_flip(images: Images, rng: np.random.Generator, p: float = 0.5) -> Images:
    """Each image mirrored left to right with probability `p`."""
    _check("random_horizontal_flip", images)
    flipped: Images = images.copy()
    chosen = rng.random(len(images)) < p
    flipped[chosen] = images[chosen, :, :, ::-1]
    return flipped


def resize(images: Images, size: Size) -> Images:
    """Bilinear interpolation to `size` (height, width), as in PyTorch with align_corners=False.

    Output pixel i samples the input at (i + 1/2)·in/out - 1/2, clamped to the image: pixels are
    squares, and the outer edges of the image stay in place. uint8 images are rounded to uint8.
    """
    _check("resize", images)
    height, width = _pair("resize", "size", size)
    rows = _interpolate(images.astype(np.float32, copy=False), height, axis=2)
    resized = _interpolate(rows, width, axis=3)
    return np.rint(resized).astype(np.uint8) if images.dtype == np.uint8 else resized


def _interpolate(images: Images, length: int, axis: int) -> Images:
    available = images.shape[axis]
    if available == length:
        return images
    if available == 0:
        raise ValueError("resize: images: have no pixels")
    position = np.maximum((np.arange(length) + 0.5) * (available / length) - 0.5, 0)
    below = np.minimum(position.astype(np.int64), available - 1)
    above = np.minimum(below + 1, available - 1)
    weight = (position - below).astype(np.float32).reshape((-1, 1) if axis == 2 else (-1,))
    mixed: Images = images.take(below, axis) * (1 - weight) + images.take(above, axis) * weight
    return mixed


@dataclass(frozen=True)
class ToFloat:
    """float32 in [0, 1] from uint8."""

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return to_float(images)


@dataclass(frozen=True)
class Normalize:
    """(images - mean) / std, per channel."""

    mean: Sequence[float]
    std: Sequence[float]

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return normalize(images, self.mean, self.std)


@dataclass(frozen=True)
class Pad:
    """`padding` pixels of `fill` on every side."""

    padding: Size
    fill: float = 0

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return pad(images, self.padding, self.fill)


@dataclass(frozen=True)
class RandomCrop:
    """A window of `size` at a random position of each image, which is first padded with `fill`."""

    size: Size
    padding: Size = 0
    fill: float = 0

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return random_crop(images, rng, self.size, self.padding, self.fill)


@dataclass(frozen=True)
class RandomHorizontalFlip:
    """Each image mirrored left to right with probability `p`."""

    p: float = 0.5

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return random_horizontal_flip(images, rng, self.p)


@dataclass(frozen=True)
class Resize:
    """Bilinear interpolation to `size` (height, width)."""

    size: Size

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        return resize(images, self.size)


@dataclass(frozen=True)
class Compose:
    """Several transforms, applied in order."""

    transforms: Sequence[Transform]

    def __call__(self, images: Images, rng: np.random.Generator) -> Images:
        for transform in self.transforms:
            images = transform(images, rng)
        return images


def _check(name: str, images: Images) -> None:
    if images.ndim != 4 or images.dtype not in (np.uint8, np.float32):
        raise ValueError(
            f"{name}: images: {images.dtype} of shape {images.shape}, "
            "expected uint8 or float32 of shape (N, C, H, W)"
        )


def _pair(name: str, argument: str, value: Size, least: int = 1) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or not all(isinstance(n, (int, np.integer)) and n >= least for n in pair):
        raise ValueError(
            f"{name}: {argument}: {value}, expected one or two whole numbers from {least} up"
        )
    return int(pair[0]), int(pair[1])
