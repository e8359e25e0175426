"""Convolutional autoencoder with unpooling. See gpudl.models.nets.autoencoder."""

from __future__ import annotations

import gpudl.nn.functional as F
from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.autoencoder import TRAINING, reconstruction_error
from gpudl.models.registry import register


class ConvAutoencoder(nn.Module):
    """Two convolutions, each followed by 2x2 max pooling; the decoder unpools to the positions of
    the maxima (the switches): Zeiler, Taylor and Fergus, ICCV 2011; Zhao, Mathieu, Goroshin and
    LeCun, Stacked what-where auto-encoders, 2015. (N, C, H, W) -> the same; H and W multiples of
    4."""

    def __init__(self, in_channels: int = 1, widths: tuple[int, int] = (16, 8)) -> None:
        super().__init__()
        first, second = widths
        self.conv1 = nn.Conv2d(in_channels, first, 3, padding=1)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.unpool = nn.MaxUnpool2d(2)
        self.deconv2 = nn.ConvTranspose2d(second, first, 3, padding=1)
        self.deconv1 = nn.ConvTranspose2d(first, in_channels, 3, padding=1)

    def encode(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(N, C, H, W) -> (N, widths[1], H/4, W/4) and the switches of both pooling layers."""
        h, first = self.pool(F.relu(self.conv1(x)))
        h, second = self.pool(F.relu(self.conv2(h)))
        return h, (first, second)

    def logits(self, code: Tensor, switches: tuple[Tensor, Tensor]) -> Tensor:
        h = F.relu(self.deconv2(self.unpool(code, switches[1])))
        output: Tensor = self.deconv1(self.unpool(h, switches[0]))
        return output

    def decode(self, code: Tensor, switches: tuple[Tensor, Tensor]) -> Tensor:
        return F.sigmoid(self.logits(code, switches))

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(*self.encode(x))

    def loss(self, x: Tensor) -> Tensor:
        return reconstruction_error(self.logits(*self.encode(x)), x, "bernoulli")


@register((1, 28, 28), "mnist", "Zhao, Mathieu, Goroshin and LeCun, 2015", 2015, TRAINING,
          "reconstruction")  # fmt: skip
def conv_autoencoder(in_channels: int = 1) -> ConvAutoencoder:
    """Two convolutions with max pooling, and back by unpooling"""
    return ConvAutoencoder(in_channels)
