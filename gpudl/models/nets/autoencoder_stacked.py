"""A deep autoencoder trained layer by layer, then all together: Bengio, Lamblin, Popovici and
Larochelle, Greedy layer-wise training of deep networks, NIPS 2006. Hinton and Salakhutdinov
(Science 313, 2006) pretrained with Boltzmann machines instead.

See gpudl.models.nets.autoencoder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.autoencoder import TRAINING, Autoencoder
from gpudl.models.registry import register
from gpudl.ops.shape.create import full, zeros


class StackedAutoencoder(Autoencoder):
    """An Autoencoder with greedy layer-wise training.

    steps_a_layer: training steps for each layer and its counterpart in the decoder, on the codes of
    the layer below. After the last layer the whole net is trained.
    """

    def __init__(
        self, sizes: Sequence[int], activation: str = "relu", steps_a_layer: int = 938
    ) -> None:
        super().__init__(sizes, activation)
        self.steps_a_layer = steps_a_layer
        self.steps: Tensor
        self.register_buffer("steps", zeros(1))  # a resumed training continues from it

    @property
    def depth(self) -> int:
        return len(self.encoder) // 2

    def make_stepper(self, make_optimizer: Callable[..., Any]) -> LayerByLayer:
        """The net's training steps; see LayerByLayer."""
        return LayerByLayer(self, make_optimizer)

    @no_grad()
    def judge(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The loss of the whole net, and |image - reconstruction|² summed over pixels."""
        difference = self(images) - images
        return {"loss": self.loss(images), "squared": (difference**2).sum() / len(images)}


class LayerByLayer:
    """Trains one layer at a time, then all together; see StackedAutoencoder."""

    def __init__(self, net: StackedAutoencoder, make_optimizer: Callable[..., Any]) -> None:
        self.net = net
        self.optimizers: Mapping[str, Any] = {"optimizer": make_optimizer(net.parameters())}
        self.done: int | None = None  # steps so far; None until read from the net's buffer, once

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """images: (N, …). "loss": of the trained part; "layer": from 1; depth + 1 is all."""
        net, optimizer = self.net, self.optimizers["optimizer"]
        self.done = int(net.steps.item()) if self.done is None else self.done
        number = min(self.done // net.steps_a_layer, net.depth)
        optimizer.zero_grad()  # layers without a gradient stay as they are
        loss = net.loss(images) if number == net.depth else self.layer_loss(number, images)
        loss.backward()
        optimizer.step()
        self.done += 1
        with no_grad():
            net.steps += 1
        return {"loss": loss.detach(), "layer": full((), number + 1.0, device=loss.device)}

    def layer_loss(self, number: int, images: Tensor) -> Tensor:
        """Loss of one layer, which reconstructs the codes of the layers below."""
        with no_grad():
            codes = self.net.encoder[: 2 * number](images.flatten(1))
        return self.net.stage(number).loss(codes)


BENGIO = "Bengio et al., Greedy layer-wise training, NIPS 2006"


@register((1, 28, 28), "mnist", BENGIO, 2006, TRAINING | {"epochs": 7}, "own")
def stacked_autoencoder(
    in_channels: int = 1,
    image_size: int = 28,
    widths: Sequence[int] = (1000, 500, 250, 30),
    steps_a_layer: int = 938,
) -> StackedAutoencoder:
    """784-1000-500-250-30 and back: an epoch of MNIST for each layer, then all together"""
    sizes = (in_channels * image_size**2, *widths)
    return StackedAutoencoder(sizes, steps_a_layer=steps_a_layer)
