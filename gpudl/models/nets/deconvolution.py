"""Shows what a unit responds to: Zeiler and Fergus, Visualizing and Understanding Convolutional
Networks, ECCV 2014, section 2.1.

The net runs forward on an image and records the positions of the maxima in its pooling layers. One
activation is then projected back to the pixels, layer by layer: unpooled to those positions,
rectified, and convolved with the transposed filters. (The gradient differs only at the ReLUs, which
it masks by the sign of the forward signal instead of the backward one: Simonyan, Vedaldi and
Zisserman 2014.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.nn import functional as f
from gpudl.ops.shape.create import zeros

UNCHANGED = (nn.LocalResponseNorm, nn.Dropout)  # layers that the projection skips


class Deconvolution:
    """Pictures of the units of a stack of Conv2d, BatchNorm2d, ReLU and MaxPool2d layers; the
    projection skips layers of UNCHANGED.

    layers: for example `net.features` or its first layers. Units are those of the last output.

    >>> layers = Deconvolution(net.features[:5])
    >>> best = layers.strongest(images, channel=7, count=9)
    >>> pictures = layers.pictures(images[best], channel=7)
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        self.layers = list(layers)
        known = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, *UNCHANGED)
        for layer in self.layers:
            if not isinstance(layer, known):
                names = ", ".join(kind.__name__ for kind in known)
                raise TypeError(
                    f"Deconvolution: {type(layer).__name__} is not supported; it takes {names}"
                )

    def strongest(self, images: Any, channel: int, count: int, batch: int = 256) -> Any:
        """Indices of the `count` images (N, C, H, W) with the channel's largest activations, in
        descending order."""
        peaks = [
            self.forward(images[start : start + batch])[0].to("cpu").numpy()[:, channel].max((1, 2))
            for start in range(0, len(images), batch)
        ]
        return np.argsort(-np.concatenate(peaks), kind="stable")[:count]

    def pictures(self, images: Any, channel: int) -> Any:
        """The projection of the channel's largest activation in each image: (N, C, H, W) -> the
        same shape."""
        activations, sizes, switches = self.forward(images)
        values = activations.to("cpu").numpy()
        n, _, rows, columns = values.shape
        plane = values[:, channel].reshape(n, rows * columns)
        peaks = plane.argmax(1)
        isolated = np.zeros_like(values)
        isolated[:, channel].reshape(n, -1)[np.arange(n), peaks] = plane[np.arange(n), peaks]
        pictures = self.back(Tensor(isolated, device=activations.device), sizes, switches)
        return pictures.to("cpu").numpy()

    @no_grad()
    def forward(self, images: Any) -> tuple[Tensor, list[Any], list[Tensor | None]]:
        """(last output, each layer's input shape, each pooling layer's switches or None)."""
        x = images
        if not isinstance(images, Tensor):
            weights = (weight for layer in self.layers for weight in layer.parameters())
            device = next((weight.device for weight in weights), None)
            x = Tensor(np.asarray(images, np.float32), device=device)
        sizes: list[Any] = []
        switches: list[Tensor | None] = []
        for layer in self.layers:
            sizes.append(tuple(x.shape))
            positions = None
            if isinstance(layer, nn.MaxPool2d):
                x, positions = f.max_pool2d(x, **{**layer.settings, "return_indices": True})
            elif isinstance(layer, nn.BatchNorm2d):
                x = _by_channel(x, *_affine(layer))
            elif not isinstance(layer, nn.Dropout):
                x = layer(x)
            switches.append(positions)
        return x, sizes, switches

    @no_grad()
    def back(self, x: Tensor, sizes: Sequence[Any], switches: Sequence[Tensor | None]) -> Tensor:
        """Project the last layer's output to the pixels."""
        steps = zip(self.layers, sizes, switches, strict=True)
        for layer, size, positions in reversed(list(steps)):
            if isinstance(layer, nn.Conv2d):
                x = _transposed(layer, x, size)
            elif isinstance(layer, nn.MaxPool2d):
                x = _unpooled(x, positions, size)
            elif isinstance(layer, nn.ReLU):
                x = f.relu(x)
            elif isinstance(layer, nn.BatchNorm2d):
                x = _by_channel(x, _affine(layer)[0])
        return x


def _unpooled(x: Tensor, positions: Any, size: Any) -> Tensor:
    """Values at the positions of the maxima, summed where windows share a maximum."""
    empty = zeros(*size[:2], size[2] * size[3], dtype=x.dtype, device=x.device)
    return empty.scatter_add(2, positions.flatten(2), x.flatten(2)).reshape(size)


def _transposed(layer: nn.Conv2d, x: Tensor, size: Any) -> Tensor:
    """The transposed convolution, from the layer's output to the size of its input."""
    padding: Any = layer.padding
    if not all(isinstance(p, int) for p in padding):
        raise ValueError(f"Deconvolution: a Conv2d has padding {padding}; it must be two ints")
    smallest = [
        (rows - 1) * stride - 2 * before + dilation * (taps - 1) + 1
        for rows, stride, before, dilation, taps in zip(
            x.shape[2:], layer.stride, padding, layer.dilation, layer.kernel_size, strict=True
        )
    ]
    extra = tuple(wanted - n for wanted, n in zip(size[2:], smallest, strict=True))
    return f.conv_transpose2d(
        x, layer.weight, None, layer.stride, padding, extra, layer.groups, layer.dilation
    )


def _affine(layer: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Batch normalisation in evaluation mode as (factor, shift) per channel."""
    if layer.running_mean is None or layer.running_var is None:
        raise ValueError("Deconvolution: a BatchNorm2d has no running statistics, but needs them")
    factor = (layer.running_var + layer.eps) ** -0.5
    factor = factor if layer.weight is None else factor * layer.weight
    shift = -layer.running_mean * factor
    return factor, shift if layer.bias is None else shift + layer.bias


def _by_channel(x: Tensor, factor: Tensor, shift: Tensor | None = None) -> Tensor:
    y = x * factor.reshape(1, -1, 1, 1)
    return y if shift is None else y + shift.reshape(1, -1, 1, 1)
