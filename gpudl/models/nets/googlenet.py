"""GoogLeNet: Szegedy et al., Going Deeper with Convolutions, CVPR 2015.

An Inception module applies filters of several sizes in parallel and concatenates the results; 1x1
convolutions before the large filters keep it cheap. `googlenet` is torchvision's variant, with
batch normalisation and torchvision's names; `googlenet_paper` is the published one.
"""

from __future__ import annotations

from typing import NamedTuple

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.start import he, small, start
from gpudl.models.registry import register
from gpudl.ops.shape.joining import cat

SOURCE = "Szegedy et al., CVPR 2015"


class Widths(NamedTuple):
    """Filters of a module: 1x1; 1x1 before 3x3, 3x3; 1x1 before 5x5, 5x5; 1x1 after pooling."""

    ones: int
    reduce3: int
    threes: int
    reduce5: int
    fives: int
    pool: int

    @property
    def total(self) -> int:
        return self.ones + self.threes + self.fives + self.pool


WIDTHS = {
    "3a": Widths(64, 96, 128, 16, 32, 32),
    "3b": Widths(128, 128, 192, 32, 96, 64),
    "4a": Widths(192, 96, 208, 16, 48, 64),
    "4b": Widths(160, 112, 224, 24, 64, 64),
    "4c": Widths(128, 128, 256, 24, 64, 64),
    "4d": Widths(112, 144, 288, 32, 64, 64),
    "4e": Widths(256, 160, 320, 32, 128, 128),
    "5a": Widths(256, 160, 320, 32, 128, 128),
    "5b": Widths(384, 192, 384, 48, 128, 128),
}  # table 1


class GoogLeNetOutputs(NamedTuple):
    """Training output: logits of the net and of the heads at modules 4d and 4a, (N, num_classes).

    The paper adds the heads' losses with weight 0.3.
    """

    logits: Tensor
    aux_logits2: Tensor
    aux_logits1: Tensor


class Conv(nn.Module):
    """Convolution and ReLU, with batch normalisation between them, or else with a bias."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        batch_norm: bool,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, bias=not batch_norm
        )
        norm = nn.BatchNorm2d(out_channels, eps=0.001, activation="relu") if batch_norm else None
        self.add_module("bn", norm)

    def forward(self, input: Tensor) -> Tensor:
        output: Tensor = self.conv(input)
        return output.relu() if self.bn is None else self.bn(output)


class Inception(nn.Module):
    """(N, in_channels, H, W) -> (N, widths.total, H, W): figure 2b.

    batch_norm: torchvision's variant, whose third branch has 3x3 filters instead of 5x5.
    """

    def __init__(self, in_channels: int, widths: Widths, batch_norm: bool = True) -> None:
        super().__init__()
        w, norm, large = widths, batch_norm, 3 if batch_norm else 5
        self.branch1 = Conv(in_channels, w.ones, 1, norm)
        self.branch2 = nn.Sequential(
            Conv(in_channels, w.reduce3, 1, norm), Conv(w.reduce3, w.threes, 3, norm, padding=1)
        )
        self.branch3 = nn.Sequential(
            Conv(in_channels, w.reduce5, 1, norm),
            Conv(w.reduce5, w.fives, large, norm, padding=large // 2),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), Conv(in_channels, w.pool, 1, norm)
        )

    def forward(self, input: Tensor) -> Tensor:
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return cat([branch(input) for branch in branches], 1)


class InceptionAux(nn.Module):
    """An auxiliary head, (N, in_channels, 14, 14) -> (N, num_classes): section 5."""

    def __init__(
        self, in_channels: int, num_classes: int, batch_norm: bool, dropout: float
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d((4, 4)) if batch_norm else nn.AvgPool2d(5, stride=3)
        self.conv = Conv(in_channels, 128, 1, batch_norm)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, input: Tensor) -> Tensor:
        hidden = self.fc1(self.conv(self.pool(input)).flatten(1)).relu()
        return self.fc2(self.dropout(hidden))


class GoogLeNet(nn.Module):
    """(N, in_channels, 224, 224) -> (N, num_classes) logits; in training, with aux_logits,
    GoogLeNetOutputs.

    batch_norm: torchvision's variant; without it the paper's net, with biases, local response
    normalisation and 5x5 filters. The auxiliary heads need 224x224; the rest takes any size.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        in_channels: int = 3,
        batch_norm: bool = True,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
    ) -> None:
        super().__init__()
        self.aux_logits, self.batch_norm = aux_logits, batch_norm
        self.conv1 = Conv(in_channels, 64, 7, batch_norm, stride=2, padding=3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.norm1 = nn.Identity() if batch_norm else nn.LocalResponseNorm(5)
        self.conv2 = Conv(64, 64, 1, batch_norm)
        self.conv3 = Conv(64, 192, 3, batch_norm, padding=1)
        self.norm2 = nn.Identity() if batch_norm else nn.LocalResponseNorm(5)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        width = 192
        for name, widths in WIDTHS.items():
            self.add_module(f"inception{name}", Inception(width, widths, batch_norm))
            width = widths.total
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        last = 2 if batch_norm else 3  # window of the last pooling: torchvision's, the paper's
        self.maxpool4 = nn.MaxPool2d(last, stride=2, ceil_mode=True)
        for name, module in (("aux1", "4a"), ("aux2", "4d")):
            head = InceptionAux(WIDTHS[module].total, num_classes, batch_norm, dropout_aux)
            self.add_module(name, head if aux_logits else None)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(width, num_classes)
        if batch_norm:  # as in torchvision
            start(self, small, biases=False)
        else:  # the paper gives none; without batch norm small weights lose the signal
            start(self, he)

    def forward(self, input: Tensor) -> Tensor | GoogLeNetOutputs:
        hidden = self.norm1(self.maxpool1(self.conv1(input)))
        hidden = self.maxpool2(self.norm2(self.conv3(self.conv2(hidden))))
        hidden = self.maxpool3(self.inception3b(self.inception3a(hidden)))
        features1 = self.inception4a(hidden)
        features2 = self.inception4d(self.inception4c(self.inception4b(features1)))
        hidden = self.maxpool4(self.inception4e(features2))
        hidden = self.avgpool(self.inception5b(self.inception5a(hidden)))
        logits: Tensor = self.fc(self.dropout(hidden.flatten(1)))
        if not (self.training and self.aux_logits):
            return logits
        return GoogLeNetOutputs(logits, self.aux2(features2), self.aux1(features1))


class SmallGoogLeNet(nn.Module):
    """(N, in_channels, 32, 32) -> (N, num_classes) logits: a 3x3 convolution, then modules 3a, 3b,
    4a, 4e and 5b with 1/part of their filters; batch normalisation."""

    def __init__(self, num_classes: int = 10, in_channels: int = 3, part: int = 4) -> None:
        super().__init__()
        width = 128 // part
        layers: list[nn.Module] = [Conv(in_channels, width, 3, True, padding=1), nn.MaxPool2d(2)]
        for name in ("3a", "3b", "pool", "4a", "4e", "pool", "5b"):
            if name == "pool":
                layers.append(nn.MaxPool2d(2))
                continue
            widths = Widths(*(filters // part for filters in WIDTHS[name]))
            layers.append(Inception(width, widths))
            width = widths.total
        self.features = nn.Sequential(*layers, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten())
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(width, num_classes)
        start(self, he, nn.Conv2d)

    def forward(self, input: Tensor) -> Tensor:
        return self.fc(self.dropout(self.features(input)))


@register(
    input_shape=(3, 224, 224),
    dataset="cifar-10",
    source=SOURCE,
    year=2014,
    training={"epochs": 5, "batch_size": 64, "optimizer": "sgd", "lr": 0.05},
)
def googlenet(
    num_classes: int = 1000,
    in_channels: int = 3,
    aux_logits: bool = True,
    dropout: float = 0.2,
    dropout_aux: float = 0.7,
) -> GoogLeNet:
    """GoogLeNet with batch normalisation, as in torchvision"""
    return GoogLeNet(num_classes, aux_logits, in_channels, True, dropout, dropout_aux)


@register(
    input_shape=(3, 224, 224),
    dataset="cifar-10",
    source=SOURCE,
    year=2014,
    training={"epochs": 5, "batch_size": 64, "optimizer": "sgd", "lr": 0.01},
)
def googlenet_paper(
    num_classes: int = 1000,
    in_channels: int = 3,
    aux_logits: bool = True,
    dropout: float = 0.4,
    dropout_aux: float = 0.7,
) -> GoogLeNet:
    """GoogLeNet as published: biases, local response normalisation, 5x5 filters"""
    return GoogLeNet(num_classes, aux_logits, in_channels, False, dropout, dropout_aux)


@register(
    input_shape=(3, 32, 32),
    dataset="cifar-10",
    source=SOURCE,
    year=2014,
    training={"epochs": 5, "batch_size": 64, "optimizer": "adam", "lr": 2e-3},
)
def googlenet_small(num_classes: int = 10, in_channels: int = 3) -> SmallGoogLeNet:
    """GoogLeNet for images of 32x32: five narrow Inception modules"""
    return SmallGoogLeNet(num_classes, in_channels)
