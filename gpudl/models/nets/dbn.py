"""Deep belief networks: Hinton, Osindero and Teh, A Fast Learning Algorithm for Deep Belief Nets,
Neural Computation 18 (2006)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import gpudl.nn.functional as F
from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.core.random import Generator
from gpudl.models.nets.rbm import ClassificationRBM, fit, in_batches, parameter_groups
from gpudl.models.registry import register
from gpudl.ops.random.fills import rand
from gpudl.ops.shape.create import arange


class DBN(nn.Module):
    """A stack of restricted Boltzmann machines: the hidden units of each are the visible units of
    the next.

    hidden: the widths, from the bottom. The top machine sees the layer below and one unit per class
    (num_classes=0: none). The generative model is the top machine with sigmoid layers down to the
    image. forward is the recognition network, (N, …) -> (N, num_classes) logits: sigmoid layers up
    to the highest one, then the weights of the class units; without classes it returns the means of
    the highest layer. image_shape: (C, H, W) of the images of `sample`, by default (in_features,).
    """

    def __init__(
        self,
        in_features: int = 784,
        hidden: Sequence[int] = (500, 500, 2000),
        num_classes: int = 10,
        device: Any = None,
        *,
        image_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("DBN: hidden is empty; give the width of one layer or more")
        self.in_features, self.num_classes = in_features, num_classes
        self.image_shape = tuple(image_shape or (in_features,))
        widths = [in_features, *hidden]
        pairs = pairwise(widths[:-1])
        self.layers = nn.ModuleList([nn.RBM(v, h, device=device) for v, h in pairs])
        self.top: nn.RBM = (
            ClassificationRBM(widths[-2], num_classes, widths[-1], device=device)
            if num_classes
            else nn.RBM(widths[-2], widths[-1], device=device)
        )

    def below_top(self, x: Tensor) -> Tensor:
        """Means of the top machine's input features. Differentiable."""
        x = x.reshape(len(x), self.in_features)
        for layer in self.layers:
            x = layer(x)
        return x

    def code(self, x: Tensor) -> Tensor:
        """Inputs of the highest layer's units, before the sigmoid. Differentiable."""
        x = self.below_top(x)
        return F.linear(x, self.top.weight[:, : x.shape[1]], self.top.hidden_bias)

    def forward(self, x: Tensor) -> Tensor:
        h = F.sigmoid(self.code(x))
        if not self.num_classes:
            return h
        n = self.top.visible_features - self.num_classes
        return F.linear(h, self.top.weight[:, n:].T, self.top.visible_bias[n:])

    @no_grad()
    def down(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Pixel means, sampled downwards from the layer below the top machine."""
        mean = x
        for layer in reversed(self.layers):
            mean, x = layer.sample_visible(x, generator)
        return mean

    @no_grad()
    def generate(
        self, labels: Tensor, steps: int = 200, generator: Generator | None = None
    ) -> Tensor:
        """(N,) int64 -> (N, in_features) pixel means: this many Gibbs steps in the top machine from
        noise, with the class units clamped, then sampling downwards."""
        if not isinstance(self.top, ClassificationRBM):
            raise TypeError("DBN.generate: the net has no class units (num_classes is 0)")
        n, device = self.top.in_features, labels.device
        noise = rand(len(labels), n, device=device, generator=generator).round()
        known = arange(self.top.visible_features, device=device) >= n
        v = self.top.gibbs(self.top.join(noise, labels), steps, generator, known)
        return self.down(v[:, :n], generator)

    def sample(self, count: int) -> Tensor:
        """(count, *image_shape): images generated for each class in turn."""
        labels = arange(count, device=self.top.weight.device) % max(self.num_classes, 1)
        return self.generate(labels).reshape(count, *self.image_shape)

    def make_stepper(self, make_optimizer: Callable[..., Any]) -> LayersAtOnce:
        """For `gpudl train`: contrastive divergence in all layers at once."""
        return LayersAtOnce(self, make_optimizer)

    def classify(self, images: Tensor) -> Tensor:
        """(N, num_classes) logits of the top machine's exact p(class | features)."""
        return self.top(self.below_top(images))

    @no_grad()
    def judge(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Cross-entropy and accuracy of `classify`."""
        logits = self.classify(images)
        accuracy = (logits.argmax(1) == labels).to(logits.dtype).mean()
        return {"loss": F.cross_entropy(logits, labels), "accuracy": accuracy}


class LayersAtOnce:
    """Training steps in which every machine takes a CD-1 step on the current means of the one
    below, unlike `pretrain`, which trains one layer after another."""

    def __init__(self, dbn: DBN, make_optimizer: Callable[..., Any]) -> None:
        self.dbn = dbn
        self.optimizers: Mapping[str, Any] = {"optimizer": make_optimizer(dbn.parameters())}

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Returns the reconstruction errors of the bottom ("loss") and top machines."""
        optimizer = self.optimizers["optimizer"]
        optimizer.zero_grad()
        v = images.reshape(len(images), self.dbn.in_features)
        errors = []
        for rbm in [*self.dbn.layers, self.dbn.top]:
            if isinstance(rbm, ClassificationRBM):
                v = rbm.join(v, labels)
            errors.append(((rbm.contrastive_divergence(v) - v) ** 2).mean())
            v = rbm.sample_hidden(v)[0]
        optimizer.step()
        return {"loss": errors[0], "top": errors[-1]}


def pretrain(
    dbn: DBN,
    images: Tensor,
    labels: Tensor | None,
    make_optimizer: Callable[..., Any],
    epochs: Sequence[int] = (10, 10, 10),
    *,
    batch_size: int = 100,
    chains: int = 0,
    generator: Generator | None = None,
) -> None:
    """Greedy training, layer by layer from below (Hinton, Osindero and Teh 2006, section 5).

    images: (N, in_features) in [0, 1]. labels: (N,) int64, None for a net without classes.
    make_optimizer(parameter_groups): creates the optimizer of a layer. epochs: per layer; 0 leaves
    it unchanged. chains: number of persistent chains of the top machine, 0 for CD-1 as in the
    others.
    """
    machines = [*dbn.layers, dbn.top]
    if len(epochs) != len(machines):
        raise ValueError(
            f"pretrain: epochs has {len(epochs)} entries; give {len(machines)}, one per layer"
        )
    if (labels is None) != (dbn.num_classes == 0):
        raise ValueError("pretrain: give labels if the net has classes, and only then")
    data = images
    for rbm, count in zip(machines, epochs, strict=True):
        if isinstance(rbm, ClassificationRBM) and labels is not None:
            data = rbm.join(data, labels)
        if count:
            optimizer = make_optimizer(parameter_groups(rbm))
            fit(
                rbm,
                data,
                optimizer,
                count,
                batch_size=batch_size,
                chains=chains if rbm is dbn.top else 0,
                generator=generator,
            )
        if rbm is not dbn.top:
            data = in_batches(rbm, data)


@register(
    input_shape=(1, 28, 28),
    dataset="mnist",
    source="Hinton, Osindero and Teh, Neural Computation 18, 2006",
    year=2006,
    task="own",
    training={"epochs": 10, "batch_size": 100, "optimizer": "sgd", "lr": 0.05, "momentum": 0.5},
)
def dbn(
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: int = 28,
    hidden: Sequence[int] = (500, 500, 2000),
) -> DBN:
    """A deep belief network, 784-500-500-2000 and ten class units (Hinton et al. 2006)"""
    shape = (in_channels, image_size, image_size)
    return DBN(in_channels * image_size**2, hidden, num_classes, image_shape=shape)
