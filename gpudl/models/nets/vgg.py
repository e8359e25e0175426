"""VGG, deep stacks of 3x3 convolutions: Simonyan and Zisserman, Very Deep Convolutional Networks
for Large-Scale Image Recognition, ICLR 2015, configurations A, B, D and E.

Layers, names, initial weights and the variants with batch normalisation (`_bn`) are torchvision's;
`vgg_small` is for 32x32 images.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.start import he_of_outputs, small, start
from gpudl.models.registry import register

# Convolutions in each of the five blocks (table 1); a block ends in max pooling.
DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """(N, in_channels, H, W) -> (N, num_classes) logits; features, avgpool, classifier as in
    torchvision.

    depths, widths: convolutions in each block, and their channels. maps: rows and columns of the
    classifier's input. hidden: units of each of its two hidden layers, 0 for none.
    """

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int] = WIDTHS,
        num_classes: int = 1000,
        in_channels: int = 3,
        batch_norm: bool = False,
        maps: int = 7,
        hidden: int = 4096,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for depth, width in zip(depths, widths, strict=True):
            for _ in range(depth):
                layers.append(nn.Conv2d(in_channels, width, 3, padding=1))
                layers += [nn.BatchNorm2d(width)] if batch_norm else []
                layers.append(nn.ReLU())
                in_channels = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d((maps, maps))
        head: list[nn.Module] = []
        width = in_channels * maps**2
        for _ in range(2 if hidden else 0):
            head += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout)]
            width = hidden
        self.classifier = nn.Sequential(*head, nn.Linear(width, num_classes))
        start(self, he_of_outputs, nn.Conv2d)  # as in torchvision
        start(self, small, nn.Linear)

    def forward(self, input: Tensor) -> Tensor:
        features = self.avgpool(self.features(input))
        return self.classifier(features.flatten(1))


imagenet_net = register(
    input_shape=(3, 224, 224),
    dataset="cifar-10",
    source="Simonyan and Zisserman, ICLR 2015",
    year=2014,
    training={"epochs": 5, "batch_size": 64, "optimizer": "sgd", "lr": 0.01, "weight_decay": 5e-4},
)


@imagenet_net
def vgg11(num_classes: int = 1000, in_channels: int = 3, hidden: int = 4096) -> VGG:
    """VGG with 11 layers"""
    return VGG(DEPTHS[11], WIDTHS, num_classes, in_channels, hidden=hidden)


@imagenet_net
def vgg11_bn(num_classes: int = 1000, in_channels: int = 3, hidden: int = 4096) -> VGG:
    """VGG with 11 layers and batch normalisation"""
    return VGG(DEPTHS[11], WIDTHS, num_classes, in_channels, batch_norm=True, hidden=hidden)


@imagenet_net
def vgg13(num_classes: int = 1000, in_channels: int = 3, hidden: int = 4096) -> VGG:
    """VGG with 13 layers"""
    return VGG(DEPTHS[13], WIDTHS, num_classes, in_channels, hidden=hidden)


@imagenet_net
def vgg13_bn(num_classes: int = 1000, in_channels: int = 3, hidden: int = 4096) -> VGG:
    """VGG with 13 layers and batch normalisation"""
    return VGG(DEPTHS[13], WIDTHS, num_classes, in_channels, batch_norm=True, hidden=hidden)


@imagenet_net
def vgg16(num_classes: int = 1000, in_channels: int = 3, hidden: int = 4096) -> VGG:
    """VGG with 16 layers"""
    return VGG(DEPTHS[16], WIDTHS, num_classes, in_channels, hidden=hidden)


@imagenet_net
def vgg16_bn(num_classes: int = 1000, in_channels: int = 3, hidden: int = 4096) -> VGG:
    """VGG with 16 layers and batch normalisation"""
    return VGG(DEPTHS[16], WIDTHS, num_classes, in_channels, batch_norm=True, hidden=hidden)


@imagenet_net
def vgg19(num_classes: int = 1000, in_channels: int = 3, hidden: int = 4096) -> VGG:
    """VGG with 19 layers"""
    return VGG(DEPTHS[19], WIDTHS, num_classes, in_channels, hidden=hidden)


@imagenet_net
def vgg19_bn(num_classes: int = 1000, in_channels: int = 3, hidden: int = 4096) -> VGG:
    """VGG with 19 layers and batch normalisation"""
    return VGG(DEPTHS[19], WIDTHS, num_classes, in_channels, batch_norm=True, hidden=hidden)


@register(
    input_shape=(3, 32, 32),
    dataset="cifar-10",
    source="Simonyan and Zisserman, ICLR 2015",
    year=2014,
    training={"epochs": 5, "batch_size": 64, "optimizer": "sgd", "lr": 0.05, "weight_decay": 5e-4},
)
def vgg_small(
    num_classes: int = 10,
    in_channels: int = 3,
    widths: Sequence[int] = (16, 32, 64),
    batch_norm: bool = True,
    hidden: int = 0,
    dropout: float = 0.5,
) -> VGG:
    """VGG for images of 32x32: three blocks of two convolutions, one linear layer"""
    depths, maps = (2,) * len(widths), 32 >> len(widths)
    return VGG(depths, widths, num_classes, in_channels, batch_norm, maps, hidden, dropout)
