"""Deep Boltzmann machines: Salakhutdinov and Hinton, Deep Boltzmann Machines, AISTATS 2009."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gpudl.nn.functional as F
from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.core.random import Generator
from gpudl.models.nets.rbm import fit, in_batches, parameter_groups
from gpudl.models.registry import register
from gpudl.nn.module import Parameter
from gpudl.ops.random.fills import normal
from gpudl.ops.shape.create import arange, zeros
from gpudl.ops.shape.joining import cat


class DBM(nn.Module):
    """Two layers of hidden units over the visible ones, all binary, undirected throughout:
    -E(v, h1, h2) = h1·W1·v + h2·W2·h1 + b·v + c1·h1 + c2·h2.

    weight1: (hidden[0], in_features), weight2: (hidden[1], hidden[0]). chains: the number of
    persistent Markov chains that estimate the model term of the gradient; they are buffers,
    initially zero. forward reconstructs (N, …) -> the same shape, through the mean-field hidden
    units. image_shape: (C, H, W) of the images of `sample`, by default (in_features,).
    """

    chain_v: Tensor
    chain_h2: Tensor

    def __init__(
        self,
        in_features: int = 784,
        hidden: Sequence[int] = (500, 1000),
        chains: int = 100,
        device: Any = None,
        *,
        image_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if len(hidden) != 2 or min(*hidden, in_features, chains) < 1:
            raise ValueError(
                f"DBM: hidden is {tuple(hidden)}, in_features {in_features}, chains {chains}; "
                "give two hidden widths, and each number must be 1 or more"
            )
        self.in_features, self.hidden = in_features, tuple(hidden)
        self.image_shape = tuple(image_shape or (in_features,))
        first, second = hidden
        self.weight1 = Parameter(normal(0.0, 0.01, (first, in_features), device=device))
        self.weight2 = Parameter(normal(0.0, 0.01, (second, first), device=device))
        self.visible_bias = Parameter(zeros(in_features, device=device))
        self.hidden1_bias = Parameter(zeros(first, device=device))
        self.hidden2_bias = Parameter(zeros(second, device=device))
        self.register_buffer("chain_v", zeros(chains, in_features, device=device))
        self.register_buffer("chain_h2", zeros(chains, second, device=device))

    # ---------------------------------------------------------------- inference

    @no_grad()
    def mean_field(
        self, v: Tensor, steps: int = 10, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(μ1, μ2): means of the factorial distribution nearest to p(h1, h2 | v).

        v: (N, in_features). Each step optimises μ1 given μ2, then μ2 given μ1, and never lowers
        `bound`. start: initial μ2, by default from an upward pass in which the first layer's input
        is doubled (section 3.2).
        """
        up = F.linear(v, self.weight1, self.hidden1_bias)
        if start is None:
            doubled = F.sigmoid(up + v @ self.weight1.T)
            start = F.linear(doubled, self.weight2, self.hidden2_bias, activation="sigmoid")
        mu1, mu2 = start, start
        for _ in range(steps):
            mu1 = F.sigmoid(up + mu2 @ self.weight2)
            mu2 = F.linear(mu1, self.weight2, self.hidden2_bias, activation="sigmoid")
        return mu1, mu2

    def bound(self, v: Tensor, mu1: Tensor, mu2: Tensor) -> Tensor:
        """Lower bound of log p(v) + log Z: the expectation of -E plus the entropy of the factorial
        distribution, (N, …) -> (N,). Equation 6."""
        first = (F.linear(v, self.weight1, self.hidden1_bias) * mu1).sum(1)
        second = (F.linear(mu1, self.weight2, self.hidden2_bias) * mu2).sum(1)
        return v @ self.visible_bias + first + second + _entropy(mu1) + _entropy(mu2)

    def forward(self, images: Tensor) -> Tensor:
        v = images.reshape(len(images), self.in_features)
        mean = F.sigmoid(self.mean_field(v)[0] @ self.weight1 + self.visible_bias)
        return mean.reshape(images.shape)

    # ---------------------------------------------------------------- sampling

    def hidden1_mean(self, v: Tensor, h2: Tensor) -> Tensor:
        """p(h1 = 1 | v, h2)."""
        return F.sigmoid(F.linear(v, self.weight1, self.hidden1_bias) + h2 @ self.weight2)

    @no_grad()
    def gibbs(
        self, v: Tensor, h2: Tensor, steps: int = 1, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(means of v, sample of v, sample of h2) after this many steps, each of which samples h1
        given v and h2, then v and h2 given h1."""
        mean = v
        for _ in range(steps):
            h1 = self.hidden1_mean(v, h2).bernoulli(generator)
            mean, v = F.gibbs_half_step(
                h1, self.weight1, self.visible_bias, transpose=True, generator=generator
            )
            _, h2 = F.gibbs_half_step(h1, self.weight2, self.hidden2_bias, generator=generator)
        return mean, v, h2

    @no_grad()
    def sample(self, count: int, steps: int = 1000) -> Tensor:
        """(count, *image_shape) pixel means after this many Gibbs steps from the persistent chains,
        which are reused if count is larger than their number."""
        row = arange(count, device=self.chain_v.device) % len(self.chain_v)
        mean = self.gibbs(self.chain_v[row], self.chain_h2[row], steps)[0]
        return mean.reshape(count, *self.image_shape)

    @no_grad()
    def as_rbm(self) -> nn.RBM:
        """A copy as an RBM of the same distribution, with visible units h1 and hidden units v and
        h2. gpudl.models.nets.partition estimates its log Z."""
        first, second = self.hidden
        rbm = nn.RBM(first, self.in_features + second, device=self.weight1.device)
        rbm.weight.copy_(cat([self.weight1.T, self.weight2], 0))
        rbm.visible_bias.copy_(self.hidden1_bias)
        rbm.hidden_bias.copy_(cat([self.visible_bias, self.hidden2_bias], 0))
        return rbm

    # ---------------------------------------------------------------- training

    @no_grad()
    def fill_gradients(
        self, v: Tensor, field: int = 5, k: int = 1, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Set `.grad` to the estimated gradient of -log p(v) and advance the chains; returns the
        mean-field (μ1, μ2).

        v: (N, in_features) data. field: mean-field steps for the data term. k: Gibbs steps of the
        persistent chains for the model term (section 3.1).
        """
        mu1, mu2 = self.mean_field(v, field)
        _, self.chain_v, self.chain_h2 = self.gibbs(self.chain_v, self.chain_h2, k, generator)
        h1 = self.hidden1_mean(self.chain_v, self.chain_h2)
        lower = F.contrastive_divergence(v, mu1, self.chain_v, h1)
        upper = F.contrastive_divergence(mu1, mu2, h1, self.chain_h2)
        self.weight1.grad, self.visible_bias.grad, self.hidden1_bias.grad = lower
        self.weight2.grad, _, self.hidden2_bias.grad = upper
        return mu1, mu2

    def make_stepper(self, make_optimizer: Callable[..., Any]) -> MeanFieldSteps:
        """For `gpudl train`: joint training without pretraining."""
        return MeanFieldSteps(self, make_optimizer)

    @no_grad()
    def judge(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """The mean squared reconstruction error of images rounded to bits."""
        v = bits(images.reshape(len(images), self.in_features))
        return {"loss": ((self(v) - v) ** 2).mean()}


def bits(images: Tensor) -> Tensor:
    """Images in [0, 1] rounded to 0 and 1."""
    return (images > 0.5).to(images.dtype)


def _entropy(mu: Tensor) -> Tensor:
    """Entropy of independent bits with means mu: (N, units) -> (N,). Bits of mean 0 or 1 add 0."""
    inside = mu.clamp(1e-7, 1 - 1e-7)
    return -(mu * inside.log() + (1 - mu) * (1 - inside).log()).sum(1)


class MeanFieldSteps:
    """Training steps of a DBM on images in [0, 1], rounded to bits."""

    def __init__(self, dbm: DBM, make_optimizer: Callable[..., Any]) -> None:
        self.dbm = dbm
        self.optimizers: Mapping[str, Any] = {"optimizer": make_optimizer(dbm.parameters())}

    def step(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Returns "loss", the mean squared error of the mean-field reconstruction."""
        v = bits(images.reshape(len(images), self.dbm.in_features))
        mu1, _ = self.dbm.fill_gradients(v)
        mean = F.sigmoid(mu1 @ self.dbm.weight1 + self.dbm.visible_bias).detach()
        self.optimizers["optimizer"].step()
        return {"loss": ((mean - v) ** 2).mean()}


class _Lowest(nn.RBM):
    """The hidden units' input is doubled to stand in for the layer above."""

    def forward(self, v: Tensor) -> Tensor:
        return F.linear(2 * v, self.weight, self.hidden_bias, activation="sigmoid")

    def sample_hidden(self, v: Tensor, generator: Generator | None = None) -> Any:
        return super().sample_hidden(2 * v, generator)


class _Highest(nn.RBM):
    """The visible units' input is doubled to stand in for the layer below."""

    def sample_visible(
        self, h: Tensor, generator: Generator | None = None, bias: Tensor | None = None
    ) -> Any:
        return super().sample_visible(2 * h, generator, bias)


def pretrain(
    dbm: DBM,
    data: Tensor,
    make_optimizer: Callable[..., Any],
    epochs: Sequence[int] = (5, 5),
    *,
    batch_size: int = 100,
    generator: Generator | None = None,
) -> None:
    """Greedy training of the two layers by CD-1, with doubled input in place of the missing layer
    (section 3.2). Starts the chains from the data. data: (N, in_features).

    make_optimizer(parameter_groups): creates the optimizer of a layer.
    """
    device, (first, second) = dbm.weight1.device, dbm.hidden
    lower = _Lowest(dbm.in_features, first, device=device)
    upper = _Highest(first, second, device=device)
    features = data
    for rbm, count in zip((lower, upper), epochs, strict=True):
        optimizer = make_optimizer(parameter_groups(rbm))
        fit(rbm, features, optimizer, count, batch_size=batch_size, generator=generator)
        features = in_batches(rbm, features)
    with no_grad():
        dbm.weight1.copy_(lower.weight)
        dbm.weight2.copy_(upper.weight)
        dbm.visible_bias.copy_(lower.visible_bias)
        dbm.hidden1_bias.copy_((lower.hidden_bias + upper.visible_bias) * 0.5)
        dbm.hidden2_bias.copy_(upper.hidden_bias)
        rows = arange(len(dbm.chain_v), device=device) % len(data)
        dbm.chain_v = data[rows]
        dbm.chain_h2 = features[rows].bernoulli(generator)


@register(
    input_shape=(1, 28, 28),
    dataset="mnist",
    source="Salakhutdinov and Hinton, AISTATS 2009",
    year=2009,
    task="own",
    training={"epochs": 10, "batch_size": 100, "optimizer": "sgd", "lr": 0.02, "momentum": 0.5},
)
def dbm(in_channels: int = 1, image_size: int = 28, hidden: Sequence[int] = (500, 1000)) -> DBM:
    """A deep Boltzmann machine of 500 and 1000 hidden units (Salakhutdinov and Hinton 2009)"""
    shape = (in_channels, image_size, image_size)
    return DBM(in_channels * image_size**2, hidden, image_shape=shape)
