"""Simple and complex cells: a response that is invariant to transformations of the input.

D. H. Hubel and T. N. Wiesel (Journal of Physiology 160, 1962) found cells in the visual cortex that
respond to a line at one position, and others that respond to it at many; they proposed that the
latter pool the responses of the former. Here a simple cell compares the input with one transformed
copy of a template, and a complex cell pools over all copies. If the transformations form a group
and preserve the inner product, the complex cell's response is invariant to them (F. Anselmi et al.,
Unsupervised learning of invariant representations, Theoretical Computer Science 633, 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpudl import nn
from gpudl.autograd.tensor import Tensor, tensor
from gpudl.models.nets.readout import Readout
from gpudl.models.registry import register

Images = np.ndarray[Any, np.dtype[np.float32]]
Transform = Callable[[Images], Images]
POOLINGS = ("max", "mean", "energy")


class ComplexCells(nn.Module):
    """(N, 1, H, W) -> (N, K), one complex cell per template.

    templates: (K, H, W), normalised to mean 0 and length 1. transforms: functions of images
    (K, H, W), the group. pooling of the simple cells' responses: their "max", their "mean" after
    max(0, ·), or "energy", their root mean square.
    """

    templates: Tensor

    def __init__(
        self, templates: Images, transforms: Sequence[Transform], pooling: str = "max"
    ) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise ValueError(
                f"ComplexCells: pooling is {pooling!r}; it must be one of {', '.join(POOLINGS)}"
            )
        self.pooling = pooling
        moved = np.stack([transform(templates) for transform in transforms], axis=1)
        flat = tensor(moved.reshape(*moved.shape[:2], -1).astype(np.float32))
        self.register_buffer("templates", standard(flat))

    def simple(self, input: Tensor) -> Tensor:
        """(N, K, copies): the simple cells' responses, inner products with every copy."""
        templates, copies, pixels = self.templates.shape
        responses = input.flatten(1) @ self.templates.reshape(templates * copies, pixels).T
        return responses.reshape(len(input), templates, copies)

    def forward(self, input: Tensor) -> Tensor:
        responses = self.simple(input)
        if self.pooling == "max":
            return responses.amax(2)
        if self.pooling == "mean":
            return responses.relu().mean(2)
        return responses.square().mean(2).sqrt()


def standard(templates: Tensor) -> Tensor:
    """Normalise (…, pixels) to mean 0 and length 1; constant templates become 0."""
    flat = templates - templates.mean(-1, keepdim=True)
    return flat / flat.norm(dim=-1, keepdim=True).clamp(min=1e-12)


def matrices(transforms: Sequence[Transform], height: int, width: int) -> Images:
    """(copies, pixels, pixels): the matrix of each transform, which multiplies a flat image from
    the right. The transforms must be linear."""
    pixels = height * width
    single = np.eye(pixels, dtype=np.float32).reshape(pixels, height, width)
    return np.stack([transform(single).reshape(pixels, pixels) for transform in transforms])


class ComplexReader(Readout):
    """(N, 1, size, size) -> (N, num_classes) logits from complex cells over rotated templates.

    The first `templates` training images are the templates, each in `copies` rotations.
    """

    moves: Tensor

    def __init__(self, num_classes: int, size: int, templates: int, copies: int) -> None:
        super().__init__(templates)
        turns = rotations(copies)
        self.cells = ComplexCells(np.zeros((templates, size, size), np.float32), turns)
        moves = tensor(matrices(turns, size, size))
        self.register_buffer("moves", moves, persistent=False)
        self.readout = nn.Linear(templates, num_classes)

    def features(self, images: Tensor) -> Tensor:
        return self.cells(images)

    def teach(self, image: Tensor, number: int) -> None:
        self.cells.templates[number] = standard((image.flatten(1) @ self.moves)[:, 0])


@register(
    input_shape=(1, 16, 16),
    dataset="usps",
    source="Hubel and Wiesel, Journal of Physiology 160",
    year=1962,
    task="own",
    training={"epochs": 10, "lr": 0.05, "schedule": "cosine"},
)
def complex_cells(
    num_classes: int = 10, image_size: int = 16, templates: int = 300, copies: int = 24
) -> ComplexReader:
    """Complex cells that pool over rotated templates, and a linear classifier"""
    return ComplexReader(num_classes, image_size, templates, copies)


def cyclic_shifts(size: int) -> list[Transform]:
    """All cyclic shifts of a size x size image."""

    def shift(rows: int, columns: int) -> Transform:
        return lambda images: np.roll(images, (rows, columns), axis=(-2, -1))

    return [shift(rows, columns) for rows in range(size) for columns in range(size)]


def rotations(count: int) -> list[Transform]:
    """Rotations by multiples of 360°/count about the centre, with bilinear interpolation; quarter
    turns are exact."""
    return [
        lambda images, angle=2 * np.pi * k / count: rotate(images, angle)  # type: ignore[misc]
        for k in range(count)
    ]


def rotate(images: Images, angle: float) -> Images:
    """(…, H, W) rotated by `angle` in radians, counter-clockwise, with zeros outside."""
    height, width = images.shape[-2:]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    cosine, sine = np.cos(angle), np.sin(angle)
    from_y = np.round(cosine * y + sine * x + (height - 1) / 2, 9)
    from_x = np.round(cosine * x - sine * y + (width - 1) / 2, 9)
    top, left = np.floor(from_y).astype(int), np.floor(from_x).astype(int)
    padded = np.pad(images, [(0, 0)] * (images.ndim - 2) + [(1, 1), (1, 1)])
    rotated = np.zeros(images.shape)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - np.abs(from_y - top - dy)) * (1 - np.abs(from_x - left - dx))
            row = np.clip(top + dy + 1, 0, height + 1)
            column = np.clip(left + dx + 1, 0, width + 1)
            rotated += weight * padded[..., row, column]
    return rotated.astype(np.float32)
