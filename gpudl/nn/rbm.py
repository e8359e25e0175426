"""Restricted Boltzmann machines."""

from __future__ import annotations

import math
from typing import Any

import gpudl.nn.functional as F
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.core.random import Generator
from gpudl.nn.module import Module, Parameter
from gpudl.ops.index.slices import where
from gpudl.ops.random.fills import normal
from gpudl.ops.shape.create import zeros

__all__ = ["RBM"]

VISIBLE = ("binary", "gaussian")


class RBM(Module):
    """A restricted Boltzmann machine with binary hidden units: p(v, h) ∝ exp(-E(v, h)).

    Binary visible units: E = -h·W·v - b·v - c·h (Smolensky 1986). Gaussian ones of unit variance:
    E = |v - b|²/2 - h·W·v - c·h (Welling, Rosen-Zvi, Hinton 2004); give them data of variance 1.
    weight: (hidden_features, visible_features), drawn from N(0, 0.01²) as Hinton 2012 advises.

    >>> rbm = RBM(784, 500)
    >>> optimizer = gpudl.optim.SGD(rbm.parameters(), lr=0.1)
    >>> rbm.contrastive_divergence(images, k=1)  # adds to .grad
    >>> optimizer.step()
    """

    def __init__(
        self,
        visible_features: int,
        hidden_features: int,
        visible: str = "binary",
        device: Any = None,
    ) -> None:
        super().__init__()
        if visible not in VISIBLE:
            raise ValueError(f"RBM: visible is {visible!r}; it must be one of {VISIBLE}")
        for name, count in (("visible", visible_features), ("hidden", hidden_features)):
            if count < 1:
                raise ValueError(f"RBM: {name}_features is {count}; it must be 1 or more")
        self.visible_features, self.hidden_features = visible_features, hidden_features
        self.visible_kind = visible
        shape = (hidden_features, visible_features)
        self.weight = Parameter(normal(0.0, 0.01, shape, device=device))
        self.visible_bias = Parameter(zeros(visible_features, device=device))
        self.hidden_bias = Parameter(zeros(hidden_features, device=device))

    def forward(self, v: Tensor) -> Tensor:
        """Probabilities of the hidden units: (N, visible) -> (N, hidden). Differentiable."""
        return F.linear(v, self.weight, self.hidden_bias, activation="sigmoid")

    @no_grad()
    def sample_hidden(self, v: Tensor, generator: Generator | None = None) -> tuple[Tensor, Tensor]:
        """(probabilities, sample) of the hidden units given visible ones."""
        return F.gibbs_half_step(v, self.weight, self.hidden_bias, generator=generator)

    @no_grad()
    def sample_visible(
        self, h: Tensor, generator: Generator | None = None, bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(means, sample) of the visible units given hidden ones. bias: replaces visible_bias."""
        return F.gibbs_half_step(
            h,
            self.weight,
            self.visible_bias if bias is None else bias,
            transpose=True,
            gaussian=self.visible_kind == "gaussian",
            generator=generator,
        )

    @no_grad()
    def gibbs(
        self,
        v: Tensor,
        steps: int = 1,
        generator: Generator | None = None,
        known: Tensor | None = None,
    ) -> Tensor:
        """Visible units after this many full steps of Gibbs sampling from v.

        known: bool, (visible,) or v's shape: units whose values are fixed; the others are sampled
        given them.
        """
        given = v
        for _ in range(steps):
            v = self.sample_visible(self.sample_hidden(v, generator)[1], generator)[1]
            if known is not None:
                v = where(known, given, v)
        return v

    @no_grad()
    def complete(
        self, v: Tensor, known: Tensor, steps: int = 100, generator: Generator | None = None
    ) -> Tensor:
        """v with the units that are not `known` (see gibbs) replaced by their means given the
        hidden units, after this many steps of Gibbs sampling that start from v."""
        sample = self.gibbs(v, steps, generator, known)
        mean = self.sample_visible(self.sample_hidden(sample, generator)[1], generator)[0]
        filled: Tensor = where(known, v, mean)
        return filled

    def free_energy(self, v: Tensor) -> Tensor:
        """F(v) = -log Σₕ exp(-E(v, h)): (N, visible) -> (N,). Differentiable."""
        hidden = F.softplus(F.linear(v, self.weight, self.hidden_bias)).sum(1)
        if self.visible_kind == "gaussian":
            return ((v - self.visible_bias) ** 2).sum(1) * 0.5 - hidden
        return -(v * self.visible_bias).sum(1) - hidden

    def log_visible_sum(self, h: Tensor, bias: Tensor | None = None) -> Tensor:
        """log Σᵥ exp(-E(v, h)) - c·h, for Gaussian units the integral over v: (N, hidden) -> (N,).
        Differentiable. bias: replaces visible_bias."""
        bias = self.visible_bias if bias is None else bias
        z = h @ self.weight + bias
        if self.visible_kind == "gaussian":
            return ((z**2 - bias**2).sum(1) + self.visible_features * math.log(2 * math.pi)) * 0.5
        return F.softplus(z).sum(1)

    @no_grad()
    def log_pseudo_likelihood(self, v: Tensor, units: Tensor | None = None) -> Tensor:
        """Σᵢ log p(vᵢ | all others) of binary units (Besag 1975): (N, visible) -> (N,).

        units: (M,) int64, the units i to sum over; the sum is scaled up to all units. Each costs a
        pass over the hidden units. Raises TypeError for Gaussian units.
        """
        if self.visible_kind == "gaussian":
            raise TypeError("RBM.log_pseudo_likelihood: the visible units must be binary")
        chosen = range(self.visible_features) if units is None else units.tolist()
        a = F.linear(v, self.weight, self.hidden_bias)
        unflipped, total = F.softplus(a).sum(1), zeros(len(v), device=v.device)
        for i in chosen:
            flip = 1 - 2 * v[:, i]
            flipped = F.softplus(a + flip.unsqueeze(1) * self.weight[:, i]).sum(1)
            total = total + F.logsigmoid(unflipped - flipped - flip * self.visible_bias[i])
        return total * (self.visible_features / len(chosen))

    @no_grad()
    def contrastive_divergence(
        self,
        v: Tensor,
        k: int = 1,
        chains: Tensor | None = None,
        generator: Generator | None = None,
    ) -> Tensor:
        """Add to the parameters' `.grad` the gradient estimated by k steps of Gibbs sampling.
        Returns the visible units of the chains, (N, visible).

        The chains start from the data v (CD-k, Hinton 2002), or from `chains`, the result of the
        last call (persistent CD, Tieleman 2008). The last half-step uses probabilities, not
        samples.
        """
        if k < 1:
            raise ValueError(f"contrastive_divergence: k is {k}; it must be 1 or more")
        h0, sample = self.sample_hidden(v, generator)
        if chains is not None:
            sample = self.sample_hidden(chains, generator)[1]
        for _ in range(k):
            vk = self.sample_visible(sample, generator)[1]
            hk, sample = self.sample_hidden(vk, generator)
        gradients = F.contrastive_divergence(v, h0, vk, hk)
        parameters = (self.weight, self.visible_bias, self.hidden_bias)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if parameter.grad is None:
                parameter.grad = gradient
            else:
                parameter.grad += gradient
        return vk

    def extra_repr(self) -> str:
        return f"{self.visible_features}, {self.hidden_features}, visible={self.visible_kind!r}"
