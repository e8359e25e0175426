"""Autoencoders whose code may be wider than their input. Noise, sparsity, sampling or contraction,
not a narrow code, keeps them from learning the identity.

See gpudl.models.nets.autoencoder.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.autoencoder import TRAINING, Autoencoder
from gpudl.models.registry import register
from gpudl.ops.random.fills import rand_like, randn_like

NOISES = ("masking", "gaussian", "salt and pepper")
WIDTH = 500  # units of the named models


class DenoisingAutoencoder(Autoencoder):
    """Reconstructs the clean image from a corrupted one: Vincent, Larochelle, Bengio and Manzagol,
    Extracting and composing robust features with denoising autoencoders, ICML 2008.

    noise: "masking" sets pixels to 0 with probability `amount`, "salt and pepper" to 0 or 1 with
    amount / 2 each, "gaussian" adds normal noise of standard deviation `amount`.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "sigmoid",
        code: str = "sigmoid",
        likelihood: str = "bernoulli",
        tied: bool = False,
        noise: str = "masking",
        amount: float = 0.25,
    ) -> None:
        super().__init__(sizes, activation, code, likelihood, tied)
        if noise not in NOISES:
            raise ValueError(f"noise is {noise!r}; it must be one of {NOISES}")
        self.noise, self.amount = noise, amount

    def corrupt(self, x: Tensor) -> Tensor:
        if self.noise == "gaussian":
            return x + randn_like(x) * self.amount
        draw = rand_like(x)
        if self.noise == "masking":
            return x.where(draw >= self.amount, 0.0)
        damaged = x.where(draw >= self.amount / 2, 0.0)
        return damaged.where(draw <= 1 - self.amount / 2, 1.0)


class SparseAutoencoder(Autoencoder):
    """A wide code of which few units are active.

    sparsity "kl": the divergence Σ ρ log(ρ/ρ̂) + (1-ρ) log((1-ρ)/(1-ρ̂)) pulls each logistic unit's
    batch mean ρ̂ to `target` ρ (Nair and Hinton, NIPS 2009, as a cross-entropy, for Boltzmann
    machines; Ng, Sparse autoencoder, CS294A lecture notes, 2011).
    "l1": Σ |code|, averaged over images.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        sparsity: str = "kl",
        weight: float = 1.0,
        target: float = 0.05,
        activation: str = "sigmoid",
        code: str = "sigmoid",
        likelihood: str = "bernoulli",
        tied: bool = False,
    ) -> None:
        super().__init__(sizes, activation, code, likelihood, tied)
        if sparsity not in ("kl", "l1"):
            raise ValueError(f"sparsity is {sparsity!r}; it must be 'kl' or 'l1'")
        if sparsity == "kl" and code != "sigmoid":
            raise ValueError(f"code is {code!r}; sparsity 'kl' needs code 'sigmoid'")
        self.sparsity, self.weight, self.target = sparsity, weight, target

    def penalty(self, code: Tensor) -> Tensor:
        if self.sparsity == "l1":
            return code.abs().sum() * (self.weight / len(code))
        return kl_sparsity(code, self.target) * self.weight


def kl_sparsity(code: Tensor, target: float) -> Tensor:
    """Σ over units of KL(Bernoulli(target) ‖ Bernoulli(unit's mean)). code: (N, units)."""
    mean = code.mean(0).clamp(1e-6, 1 - 1e-6)
    on = (target / mean).log() * target
    return (on + ((1 - target) / (1 - mean)).log() * (1 - target)).sum()


class StochasticAutoencoder(Autoencoder):
    """In training the code is sampled: unit j is 1 with probability sigmoid(…), else 0. In
    evaluation it is the probabilities.

    The gradient treats a sample as its probability (the straight-through estimator: Bengio, Léonard
    and Courville, arXiv:1308.3432, 2013).
    """

    def __init__(self, sizes: Sequence[int], activation: str = "sigmoid") -> None:
        super().__init__(sizes, activation, code="sigmoid")

    def encode(self, x: Tensor) -> Tensor:
        p = super().encode(x)
        if not self.training:
            return p
        return p + (p.detach().bernoulli() - p.detach())


class ContractiveAutoencoder(Autoencoder):
    """One layer of logistic units with tied weights and a penalty on the Jacobian of the code:
    Rifai, Vincent, Muller, Glorot and Bengio, Contractive auto-encoders, ICML 2011."""

    def __init__(self, visible: int, hidden: int, weight: float = 0.1) -> None:
        super().__init__((visible, hidden), code="sigmoid", tied=True)
        self.weight = weight

    def penalty(self, code: Tensor) -> Tensor:
        return contraction(code, self.encoder[0].weight) * self.weight


def contraction(code: Tensor, weight: Tensor) -> Tensor:
    """|∂h/∂x|² (Frobenius), averaged over images, for h = sigmoid(x Wᵀ + b). The Jacobian is
    h_j (1 - h_j) W_ji; its squares sum to Σ_j (h_j (1 - h_j))² Σ_i W_ji² (Rifai et al., eq. 7)."""
    slope = code * (1 - code)
    return (slope * slope @ (weight * weight).sum(1)).mean()


# ---------------------------------------------------------------- registered models


@register(
    (1, 28, 28),
    "mnist",
    "Vincent, Larochelle, Bengio and Manzagol, ICML 2008",
    2008,
    TRAINING,
    "reconstruction",
)
def denoising_autoencoder(
    in_channels: int = 1, image_size: int = 28, noise: str = "masking", amount: float = 0.25
) -> DenoisingAutoencoder:
    """One layer of 500 units that restores a quarter of the pixels"""
    return DenoisingAutoencoder((in_channels * image_size**2, WIDTH), noise=noise, amount=amount)


@register(
    (1, 28, 28),
    "mnist",
    "Ng, Sparse autoencoder, CS294A notes, 2011",
    2011,
    TRAINING,
    "reconstruction",
)
def sparse_autoencoder(
    in_channels: int = 1, image_size: int = 28, sparsity: str = "kl", weight: float = 1.0
) -> SparseAutoencoder:
    """One layer of 500 units, few of them active per image"""
    code = "sigmoid" if sparsity == "kl" else "relu"
    return SparseAutoencoder((in_channels * image_size**2, WIDTH), sparsity, weight, code=code)


@register(
    (1, 28, 28),
    "mnist",
    "Bengio, Léonard and Courville, arXiv:1308.3432, 2013",
    2013,
    TRAINING,
    "reconstruction",
)
def stochastic_autoencoder(in_channels: int = 1, image_size: int = 28) -> StochasticAutoencoder:
    """One layer of 500 binary units, sampled in training"""
    return StochasticAutoencoder((in_channels * image_size**2, WIDTH))


@register(
    (1, 28, 28),
    "mnist",
    "Rifai, Vincent, Muller, Glorot and Bengio, ICML 2011",
    2011,
    TRAINING,
    "reconstruction",
)
def contractive_autoencoder(
    in_channels: int = 1, image_size: int = 28, weight: float = 0.1
) -> ContractiveAutoencoder:
    """One layer of 500 units whose code varies little with its input"""
    return ContractiveAutoencoder(in_channels * image_size**2, WIDTH, weight)
