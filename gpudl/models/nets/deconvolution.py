"""What a unit sees: Zeiler and Fergus, Visualizing and Understanding Convolutional Networks, ECCV
2014, section 2.1.

The net runs forward on an image and remembers where each maximum of the pooling layers stood. One
activation is then sent back to the pixels: unpooled to the places of the maxima, rectified, and
spread by the transposed filters, layer by layer. (The gradient differs from it only at the ReLUs,
which it closes where the forward signal was negative, not the one sent back: Simonyan, Vedaldi and
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

UNCHANGED = (nn.LocalResponseNorm, nn.Dropout)  # layers that the way back passes by


class Deconvolution:
    """Pictures of the units of a stack of layers: Conv2d, BatchNorm2d, ReLU, MaxPool2d; layers of
    UNCHANGED are passed by on the way back.

    layers: such as `net.features`, or its first ones. Their last output is where units are chosen.

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
                    f"Deconvolution: {type(layer).__name__} has no way back; it takes {names}"
                )

    def strongest(self, images: Any, channel: int, count: int, batch: int = 256) -> Any:
        """The indices of the `count` images (N, C, H, W) that excite the channel most, somewhere;
        the strongest first."""
        peaks = [
            self.forward(images[start : start + batch])[0].to("cpu").numpy()[:, channel].max((1, 2))
            for start in range(0, len(images), batch)
        ]
        return np.argsort(-np.concatenate(peaks), kind="stable")[:count]

    def pictures(self, images: Any, channel: int) -> Any:
        """For each image (N, C, H, W) what in it causes the channel's largest activation, alone:
        (N, C, H, W)."""
        activations, sizes, switches = self.forward(images)
        values = activations.to("cpu").numpy()
        n, _, rows, columns = values.shape
        plane = values[:, channel].reshape(n, rows * columns)
        places = plane.argmax(1)
        alone = np.zeros_like(values)
        alone[:, channel].reshape(n, -1)[np.arange(n), places] = plane[np.arange(n), places]
        causes = self.back(Tensor(alone, device=activations.device), sizes, switches)
        return causes.to("cpu").numpy()

    @no_grad()
    def forward(self, images: Any) -> tuple[Tensor, list[Any], list[Tensor | None]]:
        """The last layer's output; each layer's input shape; each pooling's switches."""
        x = images
        if not isinstance(images, Tensor):
            weights = (weight for layer in self.layers for weight in layer.parameters())
            device = next((weight.device for weight in weights), None)
            x = Tensor(np.asarray(images, np.float32), device=device)
        sizes: list[Any] = []
        switches: list[Tensor | None] = []
        for layer in self.layers:
            sizes.append(tuple(x.shape))
            places = None
            if isinstance(layer, nn.MaxPool2d):
                x, places = f.max_pool2d(x, **{**layer.settings, "return_indices": True})
            elif isinstance(layer, nn.BatchNorm2d):
                x = _by_channel(x, *_affine(layer))
            elif not isinstance(layer, nn.Dropout):
                x = layer(x)
            switches.append(places)
        return x, sizes, switches

    @no_grad()
    def back(self, x: Tensor, sizes: Sequence[Any], switches: Sequence[Tensor | None]) -> Tensor:
        """From the last layer's output to the pixels."""
        steps = zip(self.layers, sizes, switches, strict=True)
        for layer, size, places in reversed(list(steps)):
            if isinstance(layer, nn.Conv2d):
                x = _transposed(layer, x, size)
            elif isinstance(layer, nn.MaxPool2d):
                x = _unpooled(x, places, size)
            elif isinstance(layer, nn.ReLU):
                x = f.relu(x)
            elif isinstance(layer, nn.BatchNorm2d):
                x = _by_channel(x, _affine(layer)[0])
        return x


def _unpooled(x: Tensor, places: Any, size: Any) -> Tensor:
    """Values at the places of the maxima, added up where one was the maximum of several windows."""
    empty = zeros(*size[:2], size[2] * size[3], dtype=x.dtype, device=x.device)
    return empty.scatter_add(2, places.flatten(2), x.flatten(2)).reshape(size)


def _transposed(layer: nn.Conv2d, x: Tensor, size: Any) -> Tensor:
    """The layer's filters, transposed: from its output to something of its input's size."""
    padding: Any = layer.padding
    if not all(isinstance(p, int) for p in padding):
        raise ValueError(f"Deconvolution: padding {padding} of a Conv2d; give two numbers")
    least = [
        (rows - 1) * stride - 2 * before + dilation * (taps - 1) + 1
        for rows, stride, before, dilation, taps in zip(
            x.shape[2:], layer.stride, padding, layer.dilation, layer.kernel_size, strict=True
        )
    ]
    more = tuple(wanted - n for wanted, n in zip(size[2:], least, strict=True))
    return f.conv_transpose2d(
        x, layer.weight, None, layer.stride, padding, more, layer.groups, layer.dilation
    )


def _affine(layer: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Batch normalisation by its running statistics as a factor and a summand per channel."""
    if layer.running_mean is None or layer.running_var is None:
        raise ValueError("Deconvolution: a BatchNorm2d has no running statistics")
    factor = (layer.running_var + layer.eps) ** -0.5
    factor = factor if layer.weight is None else factor * layer.weight
    shift = -layer.running_mean * factor
    return factor, shift if layer.bias is None else shift + layer.bias


def _by_channel(x: Tensor, factor: Tensor, shift: Tensor | None = None) -> Tensor:
    y = x * factor.reshape(1, -1, 1, 1)
    return y if shift is None else y + shift.reshape(1, -1, 1, 1)
