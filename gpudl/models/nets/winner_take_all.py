"""Autoencoders whose units compete: Makhzani and Frey, Winner-take-all autoencoders, NIPS 2015."""

from __future__ import annotations

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.autoencoder import TRAINING, Autoencoder, reconstruction_error
from gpudl.models.registry import register


class WinnerTakeAllAutoencoder(Autoencoder):
    """In training each unit keeps only the share `rate` of its largest activations over the batch
    (section 2). ReLU units, linear output."""

    def __init__(self, visible: int, hidden: int, rate: float = 0.05) -> None:
        super().__init__((visible, hidden), code="relu", likelihood="gaussian")
        self.rate = rate

    def encode(self, x: Tensor) -> Tensor:
        code = super().encode(x)
        return lifetime_winners(code, self.rate) if self.training else code


def lifetime_winners(code: Tensor, rate: float) -> Tensor:
    """(N, units) -> the same: keeps each unit's rate·N largest activations over the batch, at least
    1; zeros elsewhere."""
    count = max(1, round(rate * len(code)))
    smallest = code.detach().topk(count, 0).values[count - 1]
    return code.where(code.detach() >= smallest, 0.0)


def spatial_winners(maps: Tensor) -> Tensor:
    """(N, C, H, W) -> the same: keeps the largest activation of each map; zeros elsewhere."""
    largest = maps.detach().amax((2, 3), keepdim=True)
    return maps.where(maps.detach() == largest, 0.0)


class ConvWinnerTakeAllAutoencoder(nn.Module):
    """Each of `width` maps keeps one activation per image and, in training, the share `rate` of the
    largest of these over the batch. One linear transposed convolution reconstructs the image
    (section 3). (N, C, H, W) -> the same."""

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
        """(N, C, H, W) -> (N, width, H, W) with one activation per map, fewer in training."""
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


@register((1, 28, 28), "mnist", "Makhzani and Frey, NIPS 2015", 2015, TRAINING, "reconstruction")
def winner_take_all_autoencoder(
    in_channels: int = 1, image_size: int = 28, rate: float = 0.05
) -> WinnerTakeAllAutoencoder:
    """One layer of 500 units, each active only for its strongest images"""
    return WinnerTakeAllAutoencoder(in_channels * image_size**2, 500, rate)


@register((1, 28, 28), "mnist", "Makhzani and Frey, NIPS 2015", 2015, TRAINING, "reconstruction")
def conv_winner_take_all_autoencoder(in_channels: int = 1) -> ConvWinnerTakeAllAutoencoder:
    """Two convolutions to 16 maps with one winner each, which reconstruct the image"""
    return ConvWinnerTakeAllAutoencoder(in_channels, 16, 0.2)
