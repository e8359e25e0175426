"""Generative restricted Boltzmann machines for `gpudl train`.

Binary units with persistent chains (Tieleman, ICML 2008) or CD-k (Hinton, Neural Computation 14,
2002); Gaussian visible units (Welling, Rosen-Zvi and Hinton, NIPS 2004).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets import partition
from gpudl.models.registry import register
from gpudl.ops.shape.create import arange, ones_like, zeros

JUDGED = 16  # pixels per image in the pseudo-likelihood
STEPS = 200  # Gibbs steps from the chains to a sample


class GenerativeRBM(nn.RBM):
    """A machine whose visible units are the pixels of images in [0, 1].

    Binary units receive pixels rounded to 0 or 1; Gaussian units, pixels divided by their standard
    deviation. k: Gibbs steps per gradient. persistent: the steps continue `chains` persistent
    chains; otherwise they start from the data. The first batch sets the biases of the visible
    units, the initial chains and the standard deviation.
    """

    chain: Tensor
    scale: Tensor

    def __init__(
        self,
        image_shape: Sequence[int],
        hidden: int,
        visible: str = "binary",
        k: int = 1,
        persistent: bool = True,
        chains: int = 100,
        device: Any = None,
    ) -> None:
        super().__init__(math.prod(image_shape), hidden, visible, device=device)
        if min(k, chains) < 1:
            raise ValueError(f"GenerativeRBM: k is {k}, chains {chains}; both must be 1 or more")
        self.image_shape, self.k, self.persistent = tuple(image_shape), k, persistent
        self.register_buffer("chain", zeros(chains, self.visible_features, device=device))
        self.register_buffer("scale", zeros(1, device=device))  # 0 until the first batch

    def forward(self, v: Tensor) -> Tensor:
        """(N, …) -> (N, hidden): probabilities of the hidden units given visible ones."""
        return super().forward(v.flatten(1))

    def units(self, images: Tensor) -> Tensor:
        """Images (N, …) in [0, 1] -> values of the visible units (N, visible)."""
        flat = images.reshape(len(images), self.visible_features)
        if self.visible_kind == "gaussian":
            return flat / self.scale
        return (flat > 0.5).to(flat.dtype)

    @no_grad()
    def begin(self, images: Tensor) -> None:
        """Set biases, chains and scale from images."""
        gaussian = self.visible_kind == "gaussian"
        self.scale.copy_(images.std().reshape(1) if gaussian else ones_like(self.scale))
        v = self.units(images)
        self.visible_bias.copy_(partition.base_rates(self, v))
        rows = arange(len(self.chain), device=v.device) % len(v)
        self.chain.copy_(v[rows])

    def reconstruct(self, v: Tensor) -> Tensor:
        """Means of the visible units given the hidden means of v: (N, visible) -> the same."""
        return self.sample_visible(self(v))[0]

    def make_stepper(self, make_optimizer: Callable[..., Any]) -> Contrast:
        """For `gpudl train`."""
        return Contrast(self, make_optimizer)

    @no_grad()
    def judge(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Means over images: the squared reconstruction error, the free energy and, for binary
        units, the log-pseudo-likelihood estimated from JUDGED pixels."""
        v = self.units(images)
        metrics = {
            "loss": (self.reconstruct(v) - v).square().mean(),
            "free_energy": self.free_energy(v).mean(),
        }
        if self.visible_kind == "binary":
            stride = max(self.visible_features // JUDGED, 1)
            pixels = arange(stride // 2, self.visible_features, stride)
            metrics["pseudo_likelihood"] = self.log_pseudo_likelihood(v, pixels).mean()
        return metrics

    @no_grad()
    def sample(self, count: int, steps: int = STEPS) -> Tensor:
        """(count, *image_shape) pixel means in [0, 1] after this many Gibbs steps from the chains,
        which are reused if count is larger than their number."""
        rows = arange(count, device=self.chain.device) % len(self.chain)
        v = self.gibbs(self.chain[rows], steps)
        mean = self.sample_visible(self.sample_hidden(v)[1])[0] * self.scale
        return mean.clamp(0, 1).reshape(count, *self.image_shape)


class Contrast:
    """Training steps of contrastive divergence."""

    def __init__(self, rbm: GenerativeRBM, make_optimizer: Callable[..., Any]) -> None:
        self.rbm = rbm
        self.optimizers: Mapping[str, Any] = {"optimizer": make_optimizer(rbm.parameters())}
        self.begun = False

    @no_grad()
    def step(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Returns "loss", the mean squared error of the reconstruction."""
        rbm, optimizer = self.rbm, self.optimizers["optimizer"]
        if not self.begun and not rbm.scale.item():
            rbm.begin(images)
        self.begun = True  # reads the device once
        v = rbm.units(images)
        optimizer.zero_grad()
        last = rbm.contrastive_divergence(v, rbm.k, rbm.chain if rbm.persistent else None)
        if rbm.persistent:
            rbm.chain.copy_(last)
        error = (rbm.reconstruct(v) - v).square().mean()
        optimizer.step()
        return {"loss": error}


@register(
    input_shape=(1, 28, 28),
    dataset="mnist",
    source="Hinton, Neural Computation 14; Tieleman, ICML 2008",
    year=2002,
    task="own",
    training={"epochs": 8, "batch_size": 100, "optimizer": "sgd", "lr": 0.05, "momentum": 0.5,
              "schedule": "cosine"},
)  # fmt: skip
def rbm(
    in_channels: int = 1,
    image_size: int = 28,
    hidden: int = 500,
    k: int = 1,
    persistent: bool = True,
) -> GenerativeRBM:
    """A restricted Boltzmann machine of 500 hidden units that draws digits"""
    return GenerativeRBM((in_channels, image_size, image_size), hidden, "binary", k, persistent)


@register(
    input_shape=(1, 16, 16),
    dataset="usps",
    source="Welling, Rosen-Zvi and Hinton, NIPS 2004",
    year=2004,
    task="own",
    training={"epochs": 40, "batch_size": 100, "optimizer": "sgd", "lr": 0.01, "momentum": 0.5,
              "schedule": "cosine"},
)  # fmt: skip
def gaussian_rbm(
    in_channels: int = 1,
    image_size: int = 16,
    hidden: int = 200,
    k: int = 1,
    persistent: bool = True,
) -> GenerativeRBM:
    """A restricted Boltzmann machine with Gaussian visible units, for grey images"""
    return GenerativeRBM((in_channels, image_size, image_size), hidden, "gaussian", k, persistent)
