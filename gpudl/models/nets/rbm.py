"""Restricted Boltzmann machines: training and classification with label units.

Hinton, Training Products of Experts by Minimizing Contrastive Divergence, Neural Computation 14
(2002); Tieleman, Training RBMs using Approximations to the Likelihood Gradient, ICML 2008 (the
persistent chains); Larochelle and Bengio, Classification using Discriminative RBMs, ICML 2008 (the
label units). gpudl.models.nets.partition has their likelihoods.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import gpudl.nn.functional as F
from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.core.random import Generator
from gpudl.models.registry import register
from gpudl.ops.elementwise.comparison import eq
from gpudl.ops.random.fills import rand, randperm
from gpudl.ops.shape.create import arange
from gpudl.ops.shape.joining import cat


class ClassificationRBM(nn.RBM):
    """A machine whose visible units are binary features x followed by one-hot class units y:
    E(x, y, h) = -h·(W·x + U·y) - b·x - d·y - c·h.

    weight is (W U), (hidden, in_features + num_classes), visible_bias (b d). forward gives the
    exact log p(y | x) up to a term shared by all classes: d_y + Σⱼ softplus(cⱼ + Wⱼ·x + Uⱼy)
    (Larochelle and Bengio 2008, equation 2). Its cross-entropy trains discriminatively, `fit`
    generatively; both gradients may be added (hybrid training).
    """

    def __init__(
        self, in_features: int, num_classes: int, hidden_features: int, device: Any = None
    ) -> None:
        for name, count in (("in_features", in_features), ("num_classes", num_classes)):
            if count < 1:
                raise ValueError(f"ClassificationRBM: {name} is {count}; it must be 1 or more")
        super().__init__(in_features + num_classes, hidden_features, device=device)
        self.in_features, self.num_classes = in_features, num_classes

    def join(self, x: Tensor, labels: Tensor) -> Tensor:
        """Visible units of images and labels: (N, …), (N,) int64 -> (N, visible)."""
        units = self.units_of(labels).to(x.dtype)
        return cat([x.reshape(len(x), self.in_features), units], 1)

    def units_of(self, labels: Tensor) -> Tensor:
        """One-hot labels, (N,) -> (N, num_classes). F.one_hot would wait for the device."""
        classes = arange(self.num_classes, device=labels.device)
        return eq(labels.unsqueeze(1), classes)

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) -> (N, num_classes) logits. Differentiable."""
        n = self.in_features
        w, u = self.weight[:, :n], self.weight[:, n:]
        hidden = F.linear(x.reshape(len(x), n), w, self.hidden_bias)
        by_class = hidden.unsqueeze(1) + u.T.unsqueeze(0)  # (N, classes, hidden)
        return F.softplus(by_class).sum(2) + self.visible_bias[n:]

    @no_grad()
    def sample_visible(
        self, h: Tensor, generator: Generator | None = None, bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(means, sample) of the visible units given hidden ones; one class of each row is on."""
        n, bias = self.in_features, self.visible_bias if bias is None else bias
        mean, sample = F.gibbs_half_step(
            h, self.weight[:, :n], bias[:n], transpose=True, generator=generator
        )
        p = F.softmax(h @ self.weight[:, n:] + bias[n:], 1)
        u = rand(len(h), 1, device=h.device, generator=generator)
        labels = (p.cumsum(1) <= u).long().sum(1).clamp(max=self.num_classes - 1)
        units = self.units_of(labels).to(p.dtype)
        return cat([mean, p], 1), cat([sample, units], 1)

    def log_visible_sum(self, h: Tensor, bias: Tensor | None = None) -> Tensor:
        n, bias = self.in_features, self.visible_bias if bias is None else bias
        z = h @ self.weight + bias
        return F.softplus(z[:, :n]).sum(1) + z[:, n:].logsumexp(1)

    def log_pseudo_likelihood(self, v: Tensor, units: Tensor | None = None) -> Tensor:
        raise TypeError("ClassificationRBM: log_pseudo_likelihood needs independent visible units")

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.num_classes}, {self.hidden_features}"


def fit(
    rbm: nn.RBM,
    data: Tensor,
    optimizer: Any,
    epochs: int = 10,
    *,
    batch_size: int = 100,
    k: int = 1,
    chains: int = 0,
    generator: Generator | None = None,
    each_epoch: Callable[[int], None] | None = None,
) -> Tensor | None:
    """Train by contrastive divergence; returns the visible units of the persistent chains.

    data: (N, visible) probabilities or samples on the machine's device. optimizer: of its
    parameters (`parameter_groups`); the learning rates decay linearly to 0. chains: number of
    persistent chains, started from the first rows of data; 0 is CD-k. each_epoch: called with the
    number of finished epochs.
    """
    check_data(data, rbm.visible_features)
    chain = data[:chains] if chains else None
    for v in falling(optimizer, data, epochs, batch_size, generator, each_epoch):
        optimizer.zero_grad()
        last = rbm.contrastive_divergence(v, k, chain, generator)
        chain = last if chains else None
        optimizer.step()
    optimizer.zero_grad()
    return chain


def parameter_groups(rbm: nn.RBM, weight_decay: float = 2e-4) -> list[dict[str, Any]]:
    """Parameter groups: weight decay applies to the weights only (Hinton's guide, 2012)."""
    biases = [rbm.visible_bias, rbm.hidden_bias]
    weights = {"params": [rbm.weight], "weight_decay": weight_decay}
    return [weights, {"params": biases, "weight_decay": 0.0}]


def falling(
    optimizer: Any,
    data: Tensor,
    epochs: int,
    batch_size: int,
    generator: Generator | None = None,
    each_epoch: Callable[[int], None] | None = None,
) -> Iterator[Tensor]:
    """Batches of all rows of data, reshuffled each epoch, while the optimizer's learning rates
    decay linearly to 0."""
    first = [group["lr"] for group in optimizer.param_groups]
    count = math.ceil(len(data) / batch_size)
    for epoch in range(epochs):
        order = randperm(len(data), generator=generator, device=data.device)
        for i in range(count):
            for group, lr in zip(optimizer.param_groups, first, strict=True):
                group["lr"] = lr * (1 - (epoch + i / count) / epochs)
            yield data[order[i * batch_size : (i + 1) * batch_size]]
        if each_epoch is not None:
            each_epoch(epoch + 1)


def check_data(data: Tensor, width: int) -> None:
    if data.ndim != 2 or data.shape[1] != width or len(data) == 0:
        raise ValueError(
            f"fit: data has shape {list(data.shape)}; it must be (N, {width}) with N > 0"
        )


@no_grad()
def in_batches(module: Callable[[Tensor], Tensor], data: Tensor, batch_size: int = 1000) -> Tensor:
    """module(data) without gradients, batch_size rows at a time."""
    parts = [module(data[i : i + batch_size]) for i in range(0, len(data), batch_size)]
    return cat(parts, 0)


@register(
    input_shape=(1, 28, 28),
    dataset="mnist",
    source="Larochelle and Bengio",
    year=2008,
    training={"epochs": 10, "batch_size": 100, "lr": 3e-3},
)
def classification_rbm(
    num_classes: int = 10, in_channels: int = 1, image_size: int = 28, hidden: int = 500
) -> ClassificationRBM:
    """A restricted Boltzmann machine of 500 hidden units that classifies with label units"""
    return ClassificationRBM(in_channels * image_size**2, num_classes, hidden)
