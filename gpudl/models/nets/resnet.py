"""Residual networks: He, Zhang, Ren and Sun, Deep Residual Learning for Image Recognition (2016).

A block adds its output to its input, so a deep net can easily represent the identity. The ImageNet
nets (18 to 152) have torchvision's names; the CIFAR nets (20 to 110, section 4.2) those of common
implementations: conv1, bn1, layer1.0.conv1, …, linear.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.start import he, he_of_outputs, start
from gpudl.models.registry import register
from gpudl.nn import functional as F
from gpudl.nn import init
from gpudl.nn.module import LoadResult

SHORTCUTS = ("A", "B", "C")


def conv3x3(in_planes: int, planes: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_planes, planes, 3, stride, padding=1, bias=False)


def conv1x1(in_planes: int, planes: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_planes, planes, 1, stride, bias=False)


class PaddedShortcut(nn.Module):
    """Option A: every stride-th pixel, with zero channels before and after the existing ones."""

    def __init__(self, in_planes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = (planes - in_planes) // 2
        self.behind = planes - in_planes - self.before

    def forward(self, input: Tensor) -> Tensor:
        pixels = input[:, :, :: self.stride, :: self.stride]
        return F.pad(pixels, (0, 0, 0, 0, self.before, self.behind))


def shortcut_of(option: str, in_planes: int, planes: int, stride: int) -> nn.Module | None:
    """The shortcut of a block; None is the identity.

    Section 4.1 of the paper: A pads with zeros if the shape changes, B projects if it changes, C
    always projects.
    """
    if option not in SHORTCUTS:
        raise ValueError(f"ResNet: shortcut is {option!r}; it must be one of {SHORTCUTS}")
    if option != "C" and stride == 1 and in_planes == planes:
        return None
    if option == "A":
        return PaddedShortcut(in_planes, planes, stride)
    return nn.Sequential(conv1x1(in_planes, planes, stride), nn.BatchNorm2d(planes))


class BasicBlock(nn.Module):
    """relu(shortcut(x) + two 3x3 convolutions): figure 5, left. bn2 includes the sum and ReLU."""

    expansion: ClassVar[int] = 1

    def __init__(
        self, in_planes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_planes, planes, stride)
        self.bn1 = nn.BatchNorm2d(planes, activation="relu")
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = nn.BatchNorm2d(planes, activation="relu")
        self.add_module("downsample", downsample)

    def forward(self, input: Tensor) -> Tensor:
        identity = input if self.downsample is None else self.downsample(input)
        hidden = self.bn1(self.conv1(input))
        return self.bn2(self.conv2(hidden), identity)


class PlainBlock(BasicBlock):
    """The same layers without the shortcut, the paper's baseline (figure 3, middle)."""

    def forward(self, input: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.bn1(self.conv1(input))))


class Bottleneck(nn.Module):
    """relu(shortcut(x) + 1x1, 3x3 and 1x1 convolutions): figure 5, right.

    As in torchvision, the 3x3 convolution has the stride, not the first one.
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self, in_planes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = conv1x1(in_planes, planes)
        self.bn1 = nn.BatchNorm2d(planes, activation="relu")
        self.conv2 = conv3x3(planes, planes, stride)
        self.bn2 = nn.BatchNorm2d(planes, activation="relu")
        self.conv3 = conv1x1(planes, planes * self.expansion)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion, activation="relu")
        self.add_module("downsample", downsample)

    def forward(self, input: Tensor) -> Tensor:
        identity = input if self.downsample is None else self.downsample(input)
        hidden = self.bn2(self.conv2(self.bn1(self.conv1(input))))
        return self.bn3(self.conv3(hidden), identity)


Block = type[BasicBlock] | type[Bottleneck]


def stage(
    block: Block, in_planes: int, planes: int, blocks: int, stride: int, shortcut: str
) -> nn.Sequential:
    """Blocks of one width; the first has the stride."""
    width = planes * block.expansion
    layers = []
    for number in range(blocks):
        step = stride if number == 0 else 1
        before = in_planes if number == 0 else width
        layers.append(block(before, planes, step, shortcut_of(shortcut, before, width, step)))
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """Base of both kinds of residual nets: hints for loading weights of other implementations."""

    def load_state_dict(self, state_dict: dict[str, Any], strict: bool = True) -> LoadResult:
        """As Module.load_state_dict. If keys are missing or unexpected, the error suggests a
        matching shortcut option and renaming."""
        try:
            return super().load_state_dict(state_dict, strict)
        except KeyError as error:
            hints = _advice(set(self.state_dict()), set(state_dict))
            raise KeyError("; ".join([error.args[0], *hints])) from None


def _advice(own: set[str], given: set[str]) -> list[str]:
    """Hints for loading weights with the names `given` into a net with the names `own`."""
    hints = []
    own_parts, parts = ({p for name in names for p in name.split(".")} for names in (own, given))
    project = not parts.isdisjoint(("downsample", "shortcut"))
    if project != ("downsample" in own_parts):
        kind = '"B" or "C", with projections' if project else '"A", without weights'
        hints.append(f"these weights are for shortcut={kind}: pass it when you build the net")
    rename = {"fc": "linear", "linear": "fc", "shortcut": "downsample"}
    rename = {a: b for a, b in rename.items() if a in parts - own_parts and b not in parts}
    if rename:
        hints.append(f"read them with load_torch_state(path, rename={rename})")
    return hints


class ResNet(Residual):
    """(N, in_channels, H, W) -> (N, num_classes) logits; designed for 224x224, takes any size.

    layers: blocks in each of the four stages. shortcut: A, B or C (section 4.1).
    zero_init_residual: each block starts as its shortcut (Goyal et al. 2017).
    """

    def __init__(
        self,
        block: Block,
        layers: Sequence[int],
        num_classes: int = 1000,
        in_channels: int = 3,
        shortcut: str = "B",
        zero_init_residual: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64, activation="relu")
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        e = block.expansion
        self.layer1 = stage(block, 64, 64, layers[0], 1, shortcut)
        self.layer2 = stage(block, 64 * e, 128, layers[1], 2, shortcut)
        self.layer3 = stage(block, 128 * e, 256, layers[2], 2, shortcut)
        self.layer4 = stage(block, 256 * e, 512, layers[3], 2, shortcut)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * e, num_classes)
        start(self, he_of_outputs, nn.Conv2d)  # as in torchvision
        for module in self.modules() if zero_init_residual else ():
            if isinstance(module, (BasicBlock, Bottleneck)):
                last = module.bn3 if isinstance(module, Bottleneck) else module.bn2
                assert last.weight is not None
                init.zeros_(last.weight)

    def features(self, input: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, 512 or 2048): the input of the last layer."""
        hidden = self.maxpool(self.bn1(self.conv1(input)))
        hidden = self.layer4(self.layer3(self.layer2(self.layer1(hidden))))
        return self.avgpool(hidden).flatten(1)

    def forward(self, input: Tensor) -> Tensor:
        return self.fc(self.features(input))


class CifarResNet(Residual):
    """(N, in_channels, H, W) -> (N, num_classes) logits, designed for 32x32: section 4.2.

    depth: 6n + 2 layers, n blocks in each of three stages with 16, 32 and 64 filters. shortcut: A
    as in the paper, which adds no parameters to the plain net; some published weights use B.
    plain: without shortcuts.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        in_channels: int = 3,
        shortcut: str = "A",
        plain: bool = False,
    ) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ValueError(f"CifarResNet: depth is {depth}; it must be 6n + 2: 20, 32, 44, …")
        blocks, block = depth // 6, PlainBlock if plain else BasicBlock
        self.conv1 = conv3x3(in_channels, 16)
        self.bn1 = nn.BatchNorm2d(16, activation="relu")
        self.layer1 = stage(block, 16, 16, blocks, 1, shortcut)
        self.layer2 = stage(block, 16, 32, blocks, 2, shortcut)
        self.layer3 = stage(block, 32, 64, blocks, 2, shortcut)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.linear = nn.Linear(64, num_classes)
        start(self, he, biases=False)

    def features(self, input: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, 64): the input of the last layer."""
        hidden = self.bn1(self.conv1(input))
        hidden = self.layer3(self.layer2(self.layer1(hidden)))
        return self.avgpool(hidden).flatten(1)

    def forward(self, input: Tensor) -> Tensor:
        return self.linear(self.features(input))


SOURCE = "He, Zhang, Ren and Sun, CVPR 2016"
# `gpudl train` resizes images of other sizes.
imagenet_net = register(
    input_shape=(3, 224, 224),
    dataset="cifar-10",
    source=SOURCE,
    year=2015,
    training={"epochs": 5, "batch_size": 64, "optimizer": "sgd", "lr": 0.05},
)
# The full training runs are in recipes/.
cifar_net = register(
    input_shape=(3, 32, 32),
    dataset="cifar-10",
    source=SOURCE,
    year=2015,
    training={
        "epochs": 10, "batch_size": 128, "optimizer": "sgd", "lr": 0.1, "weight_decay": 1e-4,
    },
)  # fmt: skip

# -------------------------------------------------------------------- for ImageNet: table 1


@imagenet_net
def resnet18(
    num_classes: int = 1000,
    in_channels: int = 3,
    shortcut: str = "B",
    zero_init_residual: bool = False,
) -> ResNet:
    """ResNet with 18 layers, for ImageNet"""
    layers = (2, 2, 2, 2)
    return ResNet(BasicBlock, layers, num_classes, in_channels, shortcut, zero_init_residual)


@imagenet_net
def resnet34(
    num_classes: int = 1000,
    in_channels: int = 3,
    shortcut: str = "B",
    zero_init_residual: bool = False,
) -> ResNet:
    """ResNet with 34 layers, for ImageNet"""
    layers = (3, 4, 6, 3)
    return ResNet(BasicBlock, layers, num_classes, in_channels, shortcut, zero_init_residual)


@imagenet_net
def resnet50(
    num_classes: int = 1000,
    in_channels: int = 3,
    shortcut: str = "B",
    zero_init_residual: bool = False,
) -> ResNet:
    """ResNet with 50 layers, for ImageNet"""
    layers = (3, 4, 6, 3)
    return ResNet(Bottleneck, layers, num_classes, in_channels, shortcut, zero_init_residual)


@imagenet_net
def resnet101(
    num_classes: int = 1000,
    in_channels: int = 3,
    shortcut: str = "B",
    zero_init_residual: bool = False,
) -> ResNet:
    """ResNet with 101 layers, for ImageNet"""
    layers = (3, 4, 23, 3)
    return ResNet(Bottleneck, layers, num_classes, in_channels, shortcut, zero_init_residual)


@imagenet_net
def resnet152(
    num_classes: int = 1000,
    in_channels: int = 3,
    shortcut: str = "B",
    zero_init_residual: bool = False,
) -> ResNet:
    """ResNet with 152 layers, for ImageNet"""
    layers = (3, 8, 36, 3)
    return ResNet(Bottleneck, layers, num_classes, in_channels, shortcut, zero_init_residual)


# -------------------------------------------------------------------- for CIFAR-10: section 4.2


@cifar_net
def resnet20(
    num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", plain: bool = False
) -> CifarResNet:
    """ResNet with 20 layers, for CIFAR-10"""
    return CifarResNet(20, num_classes, in_channels, shortcut, plain)


@cifar_net
def resnet32(
    num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", plain: bool = False
) -> CifarResNet:
    """ResNet with 32 layers, for CIFAR-10"""
    return CifarResNet(32, num_classes, in_channels, shortcut, plain)


@cifar_net
def resnet44(
    num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", plain: bool = False
) -> CifarResNet:
    """ResNet with 44 layers, for CIFAR-10"""
    return CifarResNet(44, num_classes, in_channels, shortcut, plain)


@cifar_net
def resnet56(
    num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", plain: bool = False
) -> CifarResNet:
    """ResNet with 56 layers, for CIFAR-10"""
    return CifarResNet(56, num_classes, in_channels, shortcut, plain)


@cifar_net
def resnet110(
    num_classes: int = 10, in_channels: int = 3, shortcut: str = "A", plain: bool = False
) -> CifarResNet:
    """ResNet with 110 layers, for CIFAR-10"""
    return CifarResNet(110, num_classes, in_channels, shortcut, plain)
