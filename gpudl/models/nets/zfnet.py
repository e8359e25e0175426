"""ZFNet, AlexNet improved by visualising its units: Zeiler and Fergus, Visualizing and
Understanding Convolutional Networks, ECCV 2014, figure 3.

The first layer's filters are smaller and denser (7x7 with stride 2 instead of 11x11 with stride 4),
which preserves middle frequencies and removes aliasing. `gpudl.models.nets.deconvolution` draws
the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.alexnet import start_with_equal_chances
from gpudl.models.nets.start import small, start
from gpudl.models.registry import register


class ZFNet(nn.Module):
    """(N, in_channels, H, W) -> (N, num_classes) logits.

    widths: channels of the five convolutions. small: strides and paddings for 32x32 instead of
    224x224 images.
    """

    def __init__(
        self,
        widths: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        hidden: int = 4096,
        dropout: float = 0.5,
        small: bool = False,
    ) -> None:
        super().__init__()
        self.maps = 4 if small else 6
        self.features = nn.Sequential(
            *(_first_small if small else _first)(in_channels, widths[0], widths[1]),
            *_convolution(widths[1], widths[2]),
            *_convolution(widths[2], widths[3]),
            *_convolution(widths[3], widths[4]),
            nn.MaxPool2d(2) if small else nn.MaxPool2d(3, 2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((self.maps, self.maps))
        self.classifier = nn.Sequential(
            nn.Linear(widths[4] * self.maps**2, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, input: Tensor) -> Tensor:
        features = self.avgpool(self.features(input))
        return self.classifier(features.flatten(1))


def _convolution(channels: int, filters: int) -> list[nn.Module]:
    return [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]


def _first(channels: int, one: int, two: int) -> list[nn.Module]:
    """224 -> 110 -> 55 -> 26 -> 13 rows; local response normalisation as in AlexNet."""
    return [
        nn.Conv2d(channels, one, 7, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0),
        nn.Conv2d(one, two, 5, stride=2),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, padding=1),
        nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0),
    ]


def _first_small(channels: int, one: int, two: int) -> list[nn.Module]:
    """32 -> 32 -> 16 -> 16 -> 8 rows."""
    return [
        nn.Conv2d(channels, one, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(one, two, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]


@register(
    input_shape=(3, 224, 224),
    dataset="cifar-10",
    source="Zeiler and Fergus, ECCV 2014",
    year=2013,
    training={"epochs": 5, "batch_size": 64, "optimizer": "sgd", "lr": 0.01, "weight_decay": 5e-4},
)
def zfnet(
    num_classes: int = 1000,
    in_channels: int = 3,
    widths: Sequence[int] = (96, 256, 384, 384, 256),
    hidden: int = 4096,
) -> ZFNet:
    """ZFNet: AlexNet with 7x7 filters and stride 2 in the first layer"""
    net = ZFNet(widths, num_classes, in_channels, hidden)
    start(net, small)  # section 3
    return net


@register(
    input_shape=(3, 224, 224),
    dataset="cifar-10",
    source="Zeiler and Fergus, ECCV 2014, table 3",
    year=2013,
    training={"epochs": 5, "batch_size": 64, "optimizer": "sgd", "lr": 0.01, "weight_decay": 5e-4},
)
def zfnet_wide(num_classes: int = 1000, in_channels: int = 3, hidden: int = 4096) -> ZFNet:
    """ZFNet with 512, 1024 and 512 channels in its last three convolutions"""
    return zfnet(num_classes, in_channels, (96, 256, 512, 1024, 512), hidden)


@register(
    input_shape=(3, 32, 32),
    dataset="cifar-10",
    source="Zeiler and Fergus, ECCV 2014",
    year=2013,
    training={"epochs": 5, "batch_size": 64, "optimizer": "sgd", "lr": 0.03, "weight_decay": 5e-4},
)
def zfnet_small(
    num_classes: int = 10,
    in_channels: int = 3,
    widths: Sequence[int] = (32, 64, 96, 96, 64),
    hidden: int = 256,
    dropout: float = 0.0,
) -> ZFNet:
    """ZFNet's layers for images of 32x32"""
    net = ZFNet(widths, num_classes, in_channels, hidden, dropout, small=True)
    start_with_equal_chances(net, net.classifier[-1])
    return net
