"""AlexNet, winner of the 2012 ImageNet challenge: Krizhevsky, Sutskever and Hinton, ImageNet
Classification with Deep Convolutional Neural Networks, NIPS 2012.

Three variants: the paper's, whose grouped convolutions split the net across two GPUs; the
single-column one of Krizhevsky, One Weird Trick for Parallelizing Convolutional Neural Networks
(2014), as in torchvision; and a small one for 32x32 images. Each can be built without some of its
layers, for ablations (Zeiler and Fergus 2014, table 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.start import he, small, start
from gpudl.models.registry import register
from gpudl.nn import init

REMOVABLE = ("conv3", "conv4", "fc6", "fc7")


class Stage(NamedTuple):
    """A convolution with ReLU, optionally followed by local response normalisation (`norm`) and max
    pooling with windows of `pool` and stride 2."""

    name: str
    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    norm: bool = False
    pool: int = 0


PAPER = (
    Stage("conv1", 96, 11, 4, 2, norm=True, pool=3),
    Stage("conv2", 256, 5, 1, 2, groups=2, norm=True, pool=3),
    Stage("conv3", 384, 3, 1, 1),
    Stage("conv4", 384, 3, 1, 1, groups=2),
    Stage("conv5", 256, 3, 1, 1, groups=2, pool=3),
)
SINGLE_COLUMN = (
    Stage("conv1", 64, 11, 4, 2, pool=3),
    Stage("conv2", 192, 5, 1, 2, pool=3),
    Stage("conv3", 384, 3, 1, 1),
    Stage("conv4", 256, 3, 1, 1),
    Stage("conv5", 256, 3, 1, 1, pool=3),
)
SMALL = (
    Stage("conv1", 32, 3, 1, 1, pool=2),
    Stage("conv2", 64, 3, 1, 1, pool=2),
    Stage("conv3", 96, 3, 1, 1),
    Stage("conv4", 96, 3, 1, 1),
    Stage("conv5", 64, 3, 1, 1, pool=2),
)


class AlexNet(nn.Module):
    """(N, in_channels, H, W) -> (N, num_classes) logits; features, avgpool, classifier as in
    torchvision.

    maps: rows and columns of the classifier's input. hidden: units of fc6 and fc7. without: layers
    of REMOVABLE to leave out. dropout_first: apply dropout to the inputs of fc6 and fc7, as in
    torchvision, instead of to their outputs, as in the paper.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        num_classes: int = 1000,
        in_channels: int = 3,
        maps: int = 6,
        hidden: int = 4096,
        dropout: float = 0.5,
        dropout_first: bool = True,
        without: Sequence[str] = (),
    ) -> None:
        super().__init__()
        if unknown := sorted(set(without) - set(REMOVABLE)):
            raise ValueError(f"AlexNet: without contains {unknown}; it may contain {REMOVABLE}")
        kept = [stage for stage in stages if stage.name not in without]
        self.features = nn.Sequential(*feature_layers(kept, in_channels))
        self.avgpool = nn.AdaptiveAvgPool2d((maps, maps))
        width = kept[-1].channels * maps**2
        layers: list[nn.Module] = []
        for name in ("fc6", "fc7"):
            if name not in without:
                block = [nn.Linear(width, hidden), nn.ReLU()]
                block.insert(0 if dropout_first else 2, nn.Dropout(dropout))
                layers += block
                width = hidden
        self.classifier = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(self, input: Tensor) -> Tensor:
        features = self.avgpool(self.features(input))
        return self.classifier(features.flatten(1))


def feature_layers(stages: Sequence[Stage], channels: int) -> list[nn.Module]:
    """The layers of the stages, in order."""
    layers: list[nn.Module] = []
    for s in stages:
        layers.append(
            nn.Conv2d(channels, s.channels, s.kernel, s.stride, s.padding, groups=s.groups)
        )
        layers.append(nn.ReLU())
        if s.norm:  # section 3.3; the paper's alpha multiplies the sum, the layer's the mean
            layers.append(nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0))
        if s.pool:
            layers.append(nn.MaxPool2d(s.pool, 2))
        channels = s.channels
    return layers


def start_as_in_paper(net: AlexNet, ones: Sequence[nn.Module]) -> None:
    """Weights normal with standard deviation 0.01, biases 0, or 1 in the layers `ones`, so that
    their ReLUs start with positive inputs (section 5)."""
    start(net, small)
    for layer in ones:
        init.ones_(layer.bias)


def start_with_equal_chances(net: nn.Module, last: nn.Module) -> None:
    """Weights normal as in He et al. 2015, biases 0; the last layer's weights are small, so that
    all classes start about equally likely."""
    start(net, he)
    small(last.weight)


@register(
    input_shape=(3, 224, 224),
    dataset="cifar-10",
    source="Krizhevsky, Sutskever and Hinton, NIPS 2012",
    year=2012,
    training={"epochs": 5, "batch_size": 64, "optimizer": "sgd", "lr": 0.01, "weight_decay": 5e-4},
)
def alexnet_2012(
    num_classes: int = 1000, in_channels: int = 3, without: Sequence[str] = (), hidden: int = 4096
) -> AlexNet:
    """AlexNet as in the paper: grouped convolutions, local response normalisation"""
    net = AlexNet(
        PAPER, num_classes, in_channels, hidden=hidden, dropout_first=False, without=without
    )
    convolutions = [layer for layer in net.features if isinstance(layer, nn.Conv2d)]
    grouped = [layer for layer in convolutions if layer.groups > 1]
    linear = [layer for layer in net.classifier if isinstance(layer, nn.Linear)]
    start_as_in_paper(net, [*grouped, *linear[:-1]])
    return net


@register(
    input_shape=(3, 224, 224),
    dataset="cifar-10",
    source="Krizhevsky, arXiv 1404.5997",
    year=2014,
    training={"epochs": 5, "batch_size": 64, "optimizer": "sgd", "lr": 0.01, "weight_decay": 5e-4},
)
def alexnet(
    num_classes: int = 1000,
    in_channels: int = 3,
    without: Sequence[str] = (),
    hidden: int = 4096,
    dropout: float = 0.5,
) -> AlexNet:
    """AlexNet in one column, with torchvision's layers and names"""
    return AlexNet(
        SINGLE_COLUMN, num_classes, in_channels, hidden=hidden, dropout=dropout, without=without
    )


@register(
    input_shape=(3, 32, 32),
    dataset="cifar-10",
    source="Krizhevsky, Sutskever and Hinton, NIPS 2012",
    year=2012,
    training={"epochs": 5, "batch_size": 64, "optimizer": "sgd", "lr": 0.03, "weight_decay": 5e-4},
)
def alexnet_small(
    num_classes: int = 10,
    in_channels: int = 3,
    without: Sequence[str] = (),
    hidden: int = 256,
    dropout: float = 0.0,
    norm: bool = False,
) -> AlexNet:
    """AlexNet's five convolutions and three linear layers for images of 32x32

    norm: local response normalisation after conv1 and conv2.
    """
    stages = [s._replace(norm=norm and s.name in ("conv1", "conv2")) for s in SMALL]
    net = AlexNet(
        stages, num_classes, in_channels, maps=4, hidden=hidden, dropout=dropout, without=without
    )
    start_with_equal_chances(net, net.classifier[-1])
    return net
