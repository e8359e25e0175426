"""A deep autoencoder that learns one layer after the other, then all together: Bengio, Lamblin,
Popovici and Larochelle, Greedy layer-wise training of deep networks, NIPS 2006; Hinton and
Salakhutdinov (Science 313, 2006) began with Boltzmann machines instead.

See gpudl.models.nets.autoencoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.autoencoder import HINTON, TRAINING, Autoencoder
from gpudl.models.registry import register
from gpudl.ops.shape.create import full, zeros


class StackedAutoencoder(Autoencoder):
    """An Autoencoder that brings its own training.

    steps_a_layer: that each layer learns on the codes of the layer below it, with its counterpart
    in the decoder, before the next one begins; after the last one the whole net learns.
    """

    def __init__(
        self, sizes: Sequence[int], activation: str = "relu", steps_a_layer: int = 938
    ) -> None:
        super().__init__(sizes, activation)
        self.steps_a_layer = steps_a_layer
        self.steps: Tensor
        self.register_buffer("steps", zeros(1))  # so that a resumed training knows its place

    @property
    def depth(self) -> int:
        return len(self.encoder) // 2

    def make_stepper(self, make_optimizer: Callable[..., Any]) -> LayerByLayer:
        """What trains the net; see LayerByLayer."""
        return LayerByLayer(self, make_optimizer)

    @no_grad()
    def judge(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The loss of the whole net, and |image - reconstruction|² summed over pixels."""
        difference = self(images) - images
        return {"loss": self.loss(images), "squared": (difference**2).sum() / len(images)}


class LayerByLayer:
    """Steps on single layers, then on all; see StackedAutoencoder."""

    def __init__(self, net: StackedAutoencoder, make_optimizer: Callable[..., Any]) -> None:
        self.net = net
        self.optimizers: Mapping[str, Any] = {"optimizer": make_optimizer(net.parameters())}
        self.done: int | None = None  # steps, as the net's buffer says, which is read but once

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """images (N, …). "loss" is that of what learns; "layer" counts from 1, depth + 1 is all."""
        net, optimizer = self.net, self.optimizers["optimizer"]
        self.done = int(net.steps.item()) if self.done is None else self.done
        number = min(self.done // net.steps_a_layer, net.depth)
        optimizer.zero_grad()  # the layers that do not learn have no gradient, and stay
        loss = net.loss(images) if number == net.depth else self.layer_loss(number, images)
        loss.backward()
        optimizer.step()
        self.done += 1
        with no_grad():
            net.steps += 1
        return {"loss": loss.detach(), "layer": full((), number + 1.0, device=loss.device)}

    def layer_loss(self, number: int, images: Tensor) -> Tensor:
        """Of one layer, which gives the codes of those below back."""
        with no_grad():
            codes = self.net.encoder[: 2 * number](images.flatten(1))
        return self.net.stage(number).loss(codes)


@register((1, 28, 28), "mnist", HINTON, 2006, TRAINING | {"epochs": 7}, "own")
def stacked_autoencoder(
    in_channels: int = 1,
    image_size: int = 28,
    widths: Sequence[int] = (1000, 500, 250, 30),
    steps_a_layer: int = 938,
) -> StackedAutoencoder:
    """784-1000-500-250-30 and back: an epoch of MNIST for each layer, then all together"""
    sizes = (in_channels * image_size**2, *widths)
    return StackedAutoencoder(sizes, steps_a_layer=steps_a_layer)
