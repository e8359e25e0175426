"""LeNet-5 as published: section II.B of LeCun, Bottou, Bengio and Haffner, Gradient-Based Learning
Applied to Document Recognition, Proceedings of the IEEE 86 (1998). `lenet5` is the modern form."""

from __future__ import annotations

import math

import numpy as np

from gpudl import nn
from gpudl.autograd.tensor import Tensor, tensor
from gpudl.models.nets.lenet_codes import codes
from gpudl.models.registry import register
from gpudl.nn import functional as F
from gpudl.ops.shape.create import full, zeros_like
from gpudl.ops.shape.joining import cat

# The maps of S2 that each map of C3 sees: three adjacent, four adjacent, two adjacent pairs, all
# (Table I of the paper).
C3_INPUTS = (
    *(tuple(sorted((first + i) % 6 for i in range(3))) for first in range(6)),
    *(tuple(sorted((first + i) % 6 for i in range(4))) for first in range(6)),
    *(tuple(sorted((first + i) % 6 for i in (0, 1, 3, 4))) for first in range(3)),
    tuple(range(6)),
)


class Subsampling(nn.Module):
    """(N, C, H, W) -> (N, C, H/2, W/2): the sum of each 2x2 window times a trained coefficient per
    map, plus a trained bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(np.zeros(channels, np.float32))
        self.bias = nn.Parameter(np.zeros(channels, np.float32))

    def forward(self, input: Tensor) -> Tensor:
        coefficient = (4 * self.weight).reshape(1, -1, 1, 1)
        return F.avg_pool2d(input, 2) * coefficient + self.bias.reshape(1, -1, 1, 1)


class TableConv2d(nn.Module):
    """A convolution in which a table selects the input maps of each output map.

    inputs[k]: the input maps of output map k. weight: (connections, size, size), one kernel per
    connection, in the table's order.
    """

    place: Tensor  # (outputs, in_channels): the index of each kernel

    def __init__(self, in_channels: int, inputs: tuple[tuple[int, ...], ...], size: int) -> None:
        super().__init__()
        connections = sum(map(len, inputs))
        self.weight = nn.Parameter(np.zeros((connections, size, size), np.float32))
        self.bias = nn.Parameter(np.zeros(len(inputs), np.float32))
        place = np.full((len(inputs), in_channels), connections)  # index of the zero kernel
        number = 0
        for output, maps in enumerate(inputs):
            place[output, list(maps)] = np.arange(number, number + len(maps))
            number += len(maps)
        self.register_buffer("place", tensor(place), persistent=False)
        self.fan_in = [len(maps) * size * size for maps in inputs for _ in maps]

    def forward(self, input: Tensor) -> Tensor:
        kernels = cat([self.weight, zeros_like(self.weight[:1])])
        return F.conv2d(input, kernels[self.place], self.bias)


class RadialBasis(nn.Module):
    """(N, 84) -> (N, classes): minus the squared distance to each class's code, -y of equation 7,
    so that the largest score wins. The codes are not trained."""

    codes: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("codes", tensor(codes(num_classes)))

    def forward(self, input: Tensor) -> Tensor:
        return -(input.unsqueeze(1) - self.codes).square().sum(2)


class LeNet5Of1998(nn.Module):
    """(N, 1, 32, 32) -> (N, num_classes): minus the penalties y of equation 7.

    28x28 images are first padded by replicating their edges. The paper's scale: background -0.1,
    ink 1.175.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.c1 = nn.Conv2d(1, 6, 5)
        self.s2 = Subsampling(6)
        self.c3 = TableConv2d(6, C3_INPUTS, 5)
        self.s4 = Subsampling(16)
        self.c5 = nn.Conv2d(16, 120, 5)
        self.f6 = nn.Linear(120, 84)
        self.output = RadialBasis(num_classes)
        self.squash = nn.ScaledTanh()  # 1.7159 tanh(2x/3), appendix A
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in ±2.4/fan-in (section III of the paper), so that units start unsaturated."""
        for layer in (self.c1, self.c5, self.f6):
            bound = 2.4 / math.prod(layer.weight.shape[1:])
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -bound, bound)  # type: ignore[arg-type]
        for subsampling in (self.s2, self.s4):
            nn.init.uniform_(subsampling.weight, -2.4 / 4, 2.4 / 4)
        for kernel, fan_in in zip(self.c3.weight.detach(), self.c3.fan_in, strict=True):
            nn.init.uniform_(kernel, -2.4 / fan_in, 2.4 / fan_in)

    def forward(self, input: Tensor) -> Tensor:
        if input.shape[-1] == 28:
            input = F.pad(input, (2, 2, 2, 2), mode="replicate")
        hidden = input
        for layer in (self.c1, self.s2, self.c3, self.s4, self.c5):
            hidden = self.squash(layer(hidden))
        return self.output(self.squash(self.f6(hidden.flatten(1))))


def map_loss(scores: Tensor, labels: Tensor, j: float = 1.0) -> Tensor:
    """Mean of y_D + log(exp(-j) + sum_i exp(-y_i)), equation 9, D the label and y = -scores.

    scores: (N, classes) of `LeNet5Of1998`. exp(-j) represents inputs that are not digits; it stops
    classes whose penalty is already far above j from being pushed further. The loss is the
    cross-entropy with an extra class of score -j that is never the label.
    """
    rubbish = full((len(scores), 1), -j, device=scores.device)
    return F.cross_entropy(cat([scores, rubbish], dim=1), labels)


@register(
    input_shape=(1, 28, 28),
    dataset="mnist",
    source="LeCun, Bottou, Bengio and Haffner",
    year=1998,
    training={"lr": 3e-3},
)
def lenet5_1998(num_classes: int = 10) -> LeNet5Of1998:
    """LeNet-5 as published: connection table, trained subsampling, distances to drawn digits"""
    return LeNet5Of1998(num_classes)
