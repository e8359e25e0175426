"""Convolutional autoencoders: with unpooling, and with winners. See gpudl.models.autoencoder."""

from __future__ import annotations

import gpudl.nn.functional as F
from gpudl import nn
from gpudl.models.autoencoder import lifetime_winners, reconstruction_error
from gpudl.tensor import Tensor


def spatial_winners(maps: Tensor) -> Tensor:
    """(N, C, H, W): of each map the largest activation, zeros elsewhere."""
    largest = maps.detach().amax((2, 3), keepdim=True)
    return maps.where(maps.detach() == largest, 0.0)


class ConvWinnerTakeAllAutoencoder(nn.Module):
    """Each of `width` maps keeps one activation of an image, and over the batch only its largest
    share `rate` of those; one linear deconvolution draws the image with its filters. Makhzani and
    Frey 2015, section 3. (N, C, H, W) -> the same."""

    def __init__(self, in_channels: int = 1, width: int = 64, rate: float = 0.05) -> None:
        super().__init__()
        self.rate = rate
        self.encoder = nn.Sequential(
            nn.Conv2d(in_channels, width, 5, padding=2),
            nn.ReLU(),
            nn.Conv2d(width, width, 5, padding=2),
            nn.ReLU(),
        )
        self.decoder = nn.ConvTranspose2d(width, in_channels, 11, padding=5)

    def encode(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, width, H, W), one activation a map; in training fewer."""
        maps = spatial_winners(self.encoder(x))
        if not self.training:
            return maps
        winners = maps.detach().amax((2, 3))
        kept = lifetime_winners(winners, self.rate) > 0
        return maps.where(kept.reshape(*winners.shape, 1, 1), 0.0)

    def decode(self, code: Tensor) -> Tensor:
        image: Tensor = self.decoder(code)
        return image

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x))

    def loss(self, x: Tensor) -> Tensor:
        return reconstruction_error(self.forward(x), x, "gaussian")


class ConvAutoencoder(nn.Module):
    """Two convolutions, each followed by 2x2 max pooling, and back by unpooling to the places where
    the largest values stood (the switches): Zeiler, Taylor and Fergus, ICCV 2011; Zhao, Mathieu,
    Goroshin and LeCun, Stacked what-where auto-encoders, 2015. (N, C, H, W) -> the same; H and W
    multiples of 4."""

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
        """(N, C, H, W) -> (N, widths[1], H/4, W/4), and the switches of both poolings."""
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
