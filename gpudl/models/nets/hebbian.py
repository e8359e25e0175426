"""Linear neurons that learn from their inputs without labels or gradients.

Hebb: a connection grows when both its ends are active together (D. O. Hebb, The Organization of
Behavior, 1949). Oja: decay balances growth, so the weight vector tends to the first principal
component (E. Oja, A simplified neuron model as a principal component analyzer, Journal of
Mathematical Biology 15, 1982, equation 3). Sanger: neuron k learns from the residual of neurons 1
to k - 1, so the rows tend to the first components in order (T. D. Sanger, Optimal unsupervised
learning in a single-layer linear feedforward neural network, Neural Networks 2, 1989).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.models.registry import register
from gpudl.ops.shape.create import zeros

RULES = ("hebb", "oja", "sanger")


class LinearNeurons(nn.Module):
    """(N, inputs) -> (N, units): y = W x. Inputs should have mean 0.

    weight: (units, inputs); rows start with length 1 and random directions.
    """

    def __init__(self, inputs: int, units: int = 1) -> None:
        super().__init__()
        if units < 1:
            raise ValueError(f"LinearNeurons: units is {units}; it must be 1 or more")
        self.weight = nn.Parameter(np.zeros((units, inputs), np.float32), requires_grad=False)
        nn.init.normal_(self.weight)
        self.weight.div_(self.weight.norm(dim=1, keepdim=True))

    def forward(self, input: Tensor) -> Tensor:
        return input @ self.weight.T

    @no_grad()
    def change(self, input: Tensor, rule: str = "oja") -> Tensor:
        """(units, inputs): the rule's weight update per unit of learning rate, averaged over a
        batch.

        With outputs y of an input x and the weights W
        hebb    y xᵀ
        oja     y xᵀ - diag(y²) W       independent neurons: all find the same component
        sanger  y xᵀ - tril(y yᵀ) W
        """
        check_rule(rule)
        output = self(input)
        change = output.T @ input
        products = output.T @ output
        if rule == "oja":
            change = change - products.diagonal().unsqueeze(1) * self.weight
        elif rule == "sanger":
            change = change - products.tril() @ self.weight
        mean: Tensor = change / len(input)
        return mean

    @no_grad()
    def learn(self, input: Tensor, lr: float, rule: str = "oja") -> None:
        """One update with a batch."""
        self.weight.add_(self.change(input, rule), alpha=lr)


def check_rule(rule: str) -> None:
    if rule not in RULES:
        raise ValueError(f"LinearNeurons: rule is {rule!r}; it must be one of {', '.join(RULES)}")


class HebbianNet(nn.Module):
    """(N, …) -> (N, units): linear neurons that learn from images minus the mean image.

    mean: running mean of all `count` training inputs so far; both are buffers.
    """

    mean: Tensor
    count: Tensor

    def __init__(self, image_shape: Sequence[int], units: int, rule: str) -> None:
        super().__init__()
        check_rule(rule)
        self.image_shape, self.rule = tuple(image_shape), rule
        inputs = math.prod(image_shape)
        self.neurons = LinearNeurons(inputs, units)
        self.register_buffer("mean", zeros(inputs))
        self.register_buffer("count", zeros(1))

    def centred(self, images: Tensor) -> Tensor:
        return images.flatten(1) - self.mean

    def forward(self, input: Tensor) -> Tensor:
        return self.neurons(self.centred(input))

    @no_grad()
    def look(self, images: Tensor) -> None:
        """Update the running mean with images."""
        self.count.add_(len(images))
        self.mean.add_(self.centred(images).mean(0) * (len(images) / self.count))

    @no_grad()
    def lost(self, images: Tensor) -> Tensor:
        """The share of variance lost by projecting onto the neurons' normalised weights. For one
        neuron it is least at the first principal component."""
        x = self.centred(images)
        weight = self.neurons.weight / self.neurons.weight.norm(dim=1, keepdim=True)
        return (x - x @ weight.T @ weight).square().sum() / x.square().sum()

    def make_stepper(self, make_optimizer: Callable[..., Any]) -> RuleSteps:
        """For `gpudl train`."""
        return RuleSteps(self, make_optimizer)

    def judge(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Returns the share of variance lost ("loss") and the weights' mean length ("length")."""
        return {"loss": self.lost(images), "length": self.neurons.weight.norm(dim=1).mean()}

    def pictures(self) -> dict[str, Tensor]:
        """Each neuron's weights as an image in [0, 1]; 0.5 is weight 0."""
        weight = self.neurons.weight.reshape(-1, *self.image_shape)
        largest = weight.abs().amax((1, 2, 3), keepdim=True)
        return {"components": weight / largest / 2 + 0.5}


class RuleSteps:
    """Training steps by the net's rule: the optimizer, plain descent, gets the negated update as
    the gradient."""

    def __init__(self, net: HebbianNet, make_optimizer: Callable[..., Any]) -> None:
        self.net = net
        self.optimizers: Mapping[str, Any] = {"optimizer": make_optimizer(net.parameters())}

    def step(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Returns "loss", the share of variance lost before the step."""
        net = self.net
        net.look(images)
        lost = net.lost(images)
        net.neurons.weight.grad = -net.neurons.change(net.centred(images), net.rule)
        self.optimizers["optimizer"].step()
        return {"loss": lost}


TRAINING = {"optimizer": "sgd", "momentum": 0.0, "batch_size": 20, "schedule": "cosine"}


@register(
    input_shape=(1, 16, 16),
    dataset="usps",
    source="Hebb, The Organization of Behavior",
    year=1949,
    task="own",
    training={**TRAINING, "epochs": 5, "lr": 2e-3},
)
def hebb_neuron(in_channels: int = 1, image_size: int = 16, units: int = 1) -> HebbianNet:
    """A linear neuron that learns by Hebb's rule: its weights grow without bound"""
    return HebbianNet((in_channels, image_size, image_size), units, "hebb")


@register(
    input_shape=(1, 16, 16),
    dataset="usps",
    source="Oja, Journal of Mathematical Biology 15",
    year=1982,
    task="own",
    training={**TRAINING, "epochs": 5, "lr": 0.01},
)
def oja_neuron(in_channels: int = 1, image_size: int = 16, units: int = 1) -> HebbianNet:
    """A linear neuron that learns by Oja's rule: it finds the first principal component"""
    return HebbianNet((in_channels, image_size, image_size), units, "oja")


@register(
    input_shape=(1, 16, 16),
    dataset="usps",
    source="Sanger, Neural Networks 2",
    year=1989,
    task="own",
    training={**TRAINING, "epochs": 20, "lr": 0.02},
)
def sanger_net(in_channels: int = 1, image_size: int = 16, units: int = 16) -> HebbianNet:
    """16 linear neurons that learn by Sanger's rule: they find the principal components in order"""
    return HebbianNet((in_channels, image_size, image_size), units, "sanger")
