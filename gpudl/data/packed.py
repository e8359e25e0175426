"""Losslessly packed CIFAR images, half the size of the published files: NAME.med.xz.

An xz stream of one label byte per image, then for each image three planes of 32x32 residuals: of
green, red - green and blue - green, modulo 256. A residual is 128 plus the value minus its median
edge prediction from the left, upper and upper left neighbours.

Source of the prediction: M. Weinberger, G. Seroussi, G. Sapiro, "The LOCO-I lossless image
compression algorithm", IEEE Trans. Image Processing 9, 2000, equation 1.
"""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.data.errors import damaged
from gpudl.data.files import opened

SIDE = 32
RECORD = 1 + 3 * SIDE * SIDE
MOST = 10000  # images in one file
MEMORY = 1 << 27  # bytes that the decompressor may use

Plane = npt.NDArray[np.int16]


def unpack_images(path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Images (N, 3072), red, green, blue, and labels (N,). Raises DataError if damaged."""
    data = _decompress(path)
    if len(data) % RECORD or not 0 < len(data) <= MOST * RECORD:
        raise damaged(
            path,
            f"unpacks to {len(data)} bytes, expected a multiple of {RECORD} up to {MOST * RECORD}",
        )
    count = len(data) // RECORD
    values = np.frombuffer(data, np.uint8)
    residuals = values[count:].reshape(count, 3, SIDE, SIDE)
    return _planes_to_rgb(_undo_prediction(residuals)), values[:count]


def _decompress(path: Path) -> bytes:
    with opened(path) as file:
        packed = file.rest(MOST * RECORD)
    decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MEMORY)
    try:
        data = decompressor.decompress(packed, max_length=MOST * RECORD + 1)
    except (lzma.LZMAError, EOFError) as error:
        raise damaged(path, f"damaged xz data ({error})") from None
    if not decompressor.eof:
        raise damaged(path, "truncated, or unpacks to more than expected")
    return data


def _undo_prediction(residuals: npt.NDArray[np.uint8]) -> Plane:
    """The values (32, 32, 3, N) of residuals (N, 3, 32, 32), a pixel of all images at a time."""
    differences = np.ascontiguousarray(residuals.transpose(2, 3, 1, 0)).astype(np.int16)
    differences -= 128
    values = np.zeros_like(differences)
    for y in range(SIDE):
        for x in range(SIDE):
            predicted = _predict(values, y, x)
            np.bitwise_and(differences[y, x] + predicted, 255, out=values[y, x])
    return values


def _predict(values: Plane, y: int, x: int) -> Any:
    """At an edge the smaller or larger neighbour, elsewhere left + up - upper left."""
    if y == 0 or x == 0:
        return values[0, x - 1] if x else values[y - 1, 0] if y else 0
    left, up, corner = values[y, x - 1], values[y - 1, x], values[y - 1, x - 1]
    low, high = np.minimum(left, up), np.maximum(left, up)
    # This is the median of left, up and left + up - corner.
    return np.clip(left + up - corner, low, high)


def _planes_to_rgb(values: Plane) -> npt.NDArray[np.uint8]:
    green = values[:, :, 0]
    rgb = np.stack([values[:, :, 1] + green, green, values[:, :, 2] + green]) & 255
    images: npt.NDArray[np.uint8] = rgb.astype(np.uint8).transpose(3, 0, 1, 2)
    return images.reshape(-1, 3 * SIDE * SIDE)
