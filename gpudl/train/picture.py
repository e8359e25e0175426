"""An image file as a trained model wants it, and what had to be assumed for that."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.data.folder import MOST_PIXELS
from gpudl.train.config import Config
from gpudl.train.errors import TrainingError

Pixels = npt.NDArray[Any]
DARK, LIGHT = 0.4, 0.6  # brightness, 0 to 1, below and above which paper counts as such


@dataclass(frozen=True)
class Picture:
    """original: (H, W) or (H, W, 3) uint8. seen: (C, H, W) float32 in [0, 1].

    assumptions: a sentence for each thing done to the image that its author may not have meant.
    """

    path: Path
    original: Pixels
    seen: Pixels
    assumptions: tuple[str, ...]


def read_picture(path: Path, config: Config, invert: bool | None = None) -> Picture:
    """Grey or colour, square and resized as the model of `config` takes it.

    invert: swap light and dark; None does so for a grey model whose training images were dark, where
    the edge of this one is light. Raises TrainingError where the file is no readable image.
    """
    channels, height, width = config.input_shape
    image = _open(path)
    assumptions: list[str] = []
    if "A" in image.getbands() or "transparency" in image.info:
        image = _on_white(image)
        assumptions.append("it is transparent, so it was laid on white")
    colour = image.mode not in ("1", "L", "I", "I;16", "F")
    if channels == 1 and colour:
        assumptions.append("it is coloured, so its brightness was taken")
    original = _pixels(image, "RGB" if colour else "L")
    values = _pixels(image, "L" if channels == 1 else "RGB")
    if values.shape[:2] != (height, width):
        assumptions.append(f"it was resized from {image.width}x{image.height} to {width}x{height}")
    if channels == 1 and _wants_inversion(values, config.data.mean[0], invert):
        values = 255 - values
        assumptions.append(
            "its paper is light, but was dark in training, so light and dark were swapped "
            "(--invert no leaves them)"
            if invert is None
            else "light and dark were swapped"
        )
    squared = _square(values, height / width)
    if squared.shape != values.shape:
        assumptions.append("it has another shape, so its edge was continued on two sides")
    seen = _resized(squared, width, height).reshape(height, width, channels).transpose(2, 0, 1)
    return Picture(path, original, np.ascontiguousarray(seen), tuple(assumptions))


def _open(path: Path) -> Any:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise TrainingError(
            f"{path}: reading images needs Pillow, which is not installed; pip install pillow"
        ) from None
    if not path.is_file():
        raise TrainingError(f"{path}: is not there or no file; check the path")
    try:
        with Image.open(path) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"{image.width}x{image.height} pixels are too many")
            image.load()
            turned: Any = ImageOps.exif_transpose(image)  # cameras note which way is up
            return turned
    # Pillow's readers of the many formats raise all kinds for damage.
    except Exception as error:
        reason = str(error).replace(f" {str(path)!r}", "")[:80]
        raise TrainingError(f"{path}: is no readable image ({reason}); save it as PNG") from None


def _on_white(image: Any) -> Any:
    from PIL import Image

    solid = image.convert("RGBA")
    paper = Image.new("RGBA", solid.size, "white")
    paper.alpha_composite(solid)
    return paper.convert("RGB")


def _pixels(image: Any, mode: str) -> npt.NDArray[np.uint8]:
    """uint8 pixels; 16-bit and floating-point images are scaled, where Pillow would cut them off."""
    if image.mode in ("I", "I;16", "F"):
        values = np.asarray(image, np.float64)
        top = max(float(values.max()), 255.0 if image.mode == "F" else 65535.0)
        grey = np.rint(np.clip(values, 0, top) * (255 / top)).astype(np.uint8)
        return grey if mode == "L" else np.repeat(grey[..., None], 3, axis=2)
    return np.asarray(image.convert(mode))


def _wants_inversion(grey: Pixels, mean: float, invert: bool | None) -> bool:
    if invert is not None:
        return invert
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return mean < DARK and float(np.median(edge)) / 255 > LIGHT


def _square(pixels: Pixels, ratio: float) -> Pixels:
    """The image within a canvas of the given height/width: what is missing repeats the edge."""
    height, width = pixels.shape[:2]
    wanted_height = max(height, round(width * ratio))
    wanted_width = max(width, round(height / ratio))
    above, left = (wanted_height - height) // 2, (wanted_width - width) // 2
    more = [(above, wanted_height - height - above), (left, wanted_width - width - left)]
    if not any(map(sum, more)):
        return pixels
    return np.pad(pixels, more + [(0, 0)] * (pixels.ndim - 2), mode="edge")


def _resized(pixels: Pixels, width: int, height: int) -> npt.NDArray[np.float32]:
    """Float32 in [0, 1]. Pillow's bilinear filter averages what falls into a pixel when it shrinks."""
    from PIL import Image

    image = Image.fromarray(pixels)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32) / np.float32(255)
