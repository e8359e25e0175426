"""The convolution and pooling layers of well-known networks, one per distinct shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Conv(NamedTuple):
    """A convolution of `size`x`size` images: channels in and out, and a square window."""

    inputs: int
    size: int
    outputs: int
    window: int
    stride: int = 1
    padding: int = 0
    groups: int = 1

    @property
    def name(self) -> str:
        """Channels and side of the image, window, channels of the result."""
        extra = f"/{self.stride}" if self.stride > 1 else ""
        extra += f", {self.groups} groups" if self.groups > 1 else ""
        return f"{self.inputs}x{self.size} -> {self.window}x{self.window}, {self.outputs}{extra}"


class PoolLayer(NamedTuple):
    """Pooling of square images with a square window; kind: "max" or "avg"."""

    kind: str
    channels: int
    size: int
    window: int
    stride: int
    padding: int = 0
    ceil: bool = False


# LeCun et al. 1998, in its modern form.
LENET = (Conv(1, 28, 6, 5, 1, 2), Conv(6, 14, 16, 5))

# Krizhevsky, One weird trick for parallelizing convolutional neural networks, 2014.
ALEXNET = (
    Conv(3, 224, 64, 11, 4, 2),
    Conv(64, 27, 192, 5, 1, 2),
    Conv(192, 13, 384, 3, 1, 1),
    Conv(384, 13, 256, 3, 1, 1),
    Conv(256, 13, 256, 3, 1, 1),
)

# Simonyan and Zisserman 2015, configuration D.
VGG16 = (
    Conv(3, 224, 64, 3, 1, 1),
    Conv(64, 224, 64, 3, 1, 1),
    Conv(64, 112, 128, 3, 1, 1),
    Conv(128, 112, 128, 3, 1, 1),
    Conv(128, 56, 256, 3, 1, 1),
    Conv(256, 56, 256, 3, 1, 1),
    Conv(256, 28, 512, 3, 1, 1),
    Conv(512, 28, 512, 3, 1, 1),
    Conv(512, 14, 512, 3, 1, 1),
)

# Szegedy et al. 2015, table 1: side of the image, channels in, 1x1, 3x3 reduce, 3x3, 5x5 reduce,
# 5x5, projection after the pool.
INCEPTIONS = (
    (28, 192, 64, 96, 128, 16, 32, 32),
    (28, 256, 128, 128, 192, 32, 96, 64),
    (14, 480, 192, 96, 208, 16, 48, 64),
    (14, 512, 160, 112, 224, 24, 64, 64),
    (14, 512, 128, 128, 256, 24, 64, 64),
    (14, 512, 112, 144, 288, 32, 64, 64),
    (14, 528, 256, 160, 320, 32, 128, 128),
    (7, 832, 256, 160, 320, 32, 128, 128),
    (7, 832, 384, 192, 384, 48, 128, 128),
)


def _googlenet() -> Iterator[Conv]:
    yield from (Conv(3, 224, 64, 7, 2, 3), Conv(64, 56, 64, 1), Conv(64, 56, 192, 3, 1, 1))
    for size, inputs, one, reduce3, three, reduce5, five, projection in INCEPTIONS:
        for outputs in (one, reduce3, reduce5, projection):
            yield Conv(inputs, size, outputs, 1)
        yield Conv(reduce3, size, three, 3, 1, 1)
        yield Conv(reduce5, size, five, 5, 1, 2)


# He et al. 2016: (channels, side of the image) of the four stages.
STAGES = ((64, 56), (128, 28), (256, 14), (512, 7))


def _resnet18() -> Iterator[Conv]:
    yield Conv(3, 224, 64, 7, 2, 3)
    before = 64
    for channels, size in STAGES:
        if before != channels:  # the first block of a stage halves the image
            yield Conv(before, 2 * size, channels, 3, 2, 1)
            yield Conv(before, 2 * size, channels, 1, 2)
        yield Conv(channels, size, channels, 3, 1, 1)
        before = channels


def _resnet50() -> Iterator[Conv]:
    """With the stride in the 3x3 layer, as in torchvision."""
    yield Conv(3, 224, 64, 7, 2, 3)
    before = 64
    for stage, (channels, size) in enumerate(STAGES):
        stride = 1 if stage == 0 else 2
        yield Conv(before, stride * size, channels, 1)
        yield Conv(channels, stride * size, channels, 3, stride, 1)
        yield Conv(before, stride * size, 4 * channels, 1, stride)
        yield Conv(channels, size, 4 * channels, 1)
        yield Conv(4 * channels, size, channels, 1)
        yield Conv(channels, size, channels, 3, 1, 1)
        before = 4 * channels


CONVS: dict[str, tuple[Conv, ...]] = {
    "ResNet-50": tuple(_resnet50()),
    "LeNet-5": LENET,
    "ResNet-18": tuple(_resnet18()),
    "VGG-16": VGG16,
    "AlexNet": ALEXNET,
    "GoogLeNet": tuple(_googlenet()),
}

POOLS: dict[str, tuple[PoolLayer, ...]] = {
    "LeNet-5": (PoolLayer("max", 6, 28, 2, 2), PoolLayer("max", 16, 10, 2, 2)),
    "ResNet": (PoolLayer("max", 64, 112, 3, 2, 1), PoolLayer("avg", 2048, 7, 7, 1)),
    "AlexNet": (PoolLayer("max", 64, 55, 3, 2), PoolLayer("max", 256, 13, 3, 2)),
    "VGG-16": tuple(
        PoolLayer("max", c, s, 2, 2) for c, s in ((64, 224), (128, 112), (256, 56), (512, 14))
    ),
    "GoogLeNet": (
        PoolLayer("max", 192, 56, 3, 2, 0, True),
        PoolLayer("max", 256, 28, 3, 1, 1),
        PoolLayer("avg", 1024, 7, 7, 1),
    ),
}


def distinct() -> Iterator[tuple[str, Conv]]:
    """Each shape once, with the names of the networks that use it."""
    owners: dict[Conv, list[str]] = {}
    for network, layers in CONVS.items():
        for layer in layers:
            names = owners.setdefault(layer, [])
            if network not in names:
                names.append(network)
    for layer, names in owners.items():
        yield "+".join(names), layer
