"""Restricted Boltzmann machines that learn to draw, as `gpudl train` trains them.

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

JUDGED = 16  # pixels of an image whose probability given all others is judged
STEPS = 200  # of Gibbs sampling behind the chains, for samples


class GenerativeRBM(nn.RBM):
    """A machine whose visible units are the pixels of images in [0, 1].

    Binary units see them rounded to bits, Gaussian ones divided by their standard deviation.
    k: steps of Gibbs sampling for a gradient. persistent: they go on from `chains` chains that are
    never begun anew, else they begin at the data. The first batch gives the biases of the visible
    units, the chains' first states and the standard deviation.
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
        self.register_buffer("scale", zeros(1, device=device))  # 0: nothing seen yet

    def forward(self, v: Tensor) -> Tensor:
        """(N, …) -> (N, hidden): probabilities of the hidden units given visible ones."""
        return super().forward(v.flatten(1))

    def units(self, images: Tensor) -> Tensor:
        """(N, …) in [0, 1] -> (N, visible): what the visible units see."""
        flat = images.reshape(len(images), self.visible_features)
        if self.visible_kind == "gaussian":
            return flat / self.scale
        return (flat > 0.5).to(flat.dtype)

    @no_grad()
    def begin(self, images: Tensor) -> None:
        """Biases, chains and scale from images."""
        gaussian = self.visible_kind == "gaussian"
        self.scale.copy_(images.std().reshape(1) if gaussian else ones_like(self.scale))
        v = self.units(images)
        self.visible_bias.copy_(partition.base_rates(self, v))
        rows = arange(len(self.chain), device=v.device) % len(v)
        self.chain.copy_(v[rows])

    def reconstruct(self, v: Tensor) -> Tensor:
        """Means of the visible units given the means of the hidden ones."""
        return self.sample_visible(self(v))[0]

    def make_stepper(self, make_optimizer: Callable[..., Any]) -> Contrast:
        """For `gpudl train`."""
        return Contrast(self, make_optimizer)

    @no_grad()
    def judge(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """Means: the squared error of a reconstruction, the free energy, and of binary units the
        log-pseudo-likelihood of an image, from JUDGED of its pixels."""
        v = self.units(images)
        found = {
            "loss": (self.reconstruct(v) - v).square().mean(),
            "free_energy": self.free_energy(v).mean(),
        }
        if self.visible_kind == "binary":
            apart = max(self.visible_features // JUDGED, 1)
            pixels = arange(apart // 2, self.visible_features, apart)
            found["pseudo_likelihood"] = self.log_pseudo_likelihood(v, pixels).mean()
        return found

    @no_grad()
    def sample(self, count: int, steps: int = STEPS) -> Tensor:
        """(count, *image_shape) in [0, 1]: means of the pixels, so many steps of Gibbs sampling
        behind the chains, of which some serve more than once where count is larger."""
        rows = arange(count, device=self.chain.device) % len(self.chain)
        v = self.gibbs(self.chain[rows], steps)
        mean = self.sample_visible(self.sample_hidden(v)[1])[0] * self.scale
        return mean.clamp(0, 1).reshape(count, *self.image_shape)


class Contrast:
    """Steps of contrastive divergence."""

    def __init__(self, rbm: GenerativeRBM, make_optimizer: Callable[..., Any]) -> None:
        self.rbm = rbm
        self.optimizers: Mapping[str, Any] = {"optimizer": make_optimizer(rbm.parameters())}
        self.begun = False

    @no_grad()
    def step(self, images: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """The mean squared error of the reconstruction is the loss."""
        rbm, optimizer = self.rbm, self.optimizers["optimizer"]
        if not self.begun and not rbm.scale.item():
            rbm.begin(images)
        self.begun = True  # the device is asked once
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
