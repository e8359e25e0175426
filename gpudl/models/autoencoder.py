"""Autoencoders: nets that learn a code by giving back what they were given.

Each has `encode` (images to codes), `decode` (codes to images), `forward` (both) and `loss` (what
it is trained by: a mean over images of a sum over pixels, in nats).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import gpudl
import gpudl.nn.functional as F
from gpudl import nn
from gpudl.models.registry import register
from gpudl.tensor import Tensor

ACTIVATIONS = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
LIKELIHOODS = ("bernoulli", "gaussian")
NOISES = ("masking", "gaussian", "salt and pepper")


def reconstruction_error(output: Tensor, x: Tensor, likelihood: str) -> Tensor:
    """-log p(x | output), the mean over images of the sum over pixels.

    "bernoulli": x in [0, 1], output its logits. "gaussian": of variance 1, without the constant:
    |x - output|²/2.
    """
    if likelihood == "bernoulli":
        total = F.binary_cross_entropy_with_logits(output, x, reduction="sum")
    else:
        total = F.mse_loss(output, x, reduction="sum") * 0.5
    return total / len(x)


class TiedLinear(nn.Module):
    """y = x W + b with the weight W of a Linear that goes the other way; b is its own."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias = nn.Parameter(gpudl.zeros(linear.in_features, device=linear.weight.device))

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight.t(), self.bias)


class Coder(nn.Module):
    """An encoder and a decoder, and what all dense autoencoders share. Subclasses change single
    steps of `loss`."""

    def __init__(self, encoder: nn.Sequential, decoder: nn.Sequential, likelihood: str) -> None:
        super().__init__()
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood is {likelihood!r}; it must be one of {LIKELIHOODS}")
        self.encoder: nn.Sequential = encoder
        self.decoder: nn.Sequential = decoder
        self.likelihood = likelihood

    def encode(self, x: Tensor) -> Tensor:
        """(N, …) -> (N, code)."""
        code: Tensor = self.encoder(x.flatten(1))
        return code

    def decode(self, code: Tensor) -> Tensor:
        """(N, code) -> (N, pixels): the mean of p(x | code)."""
        output: Tensor = self.decoder(code)
        return F.sigmoid(output) if self.likelihood == "bernoulli" else output

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x)).reshape(x.shape)

    def corrupt(self, x: Tensor) -> Tensor:
        """What the encoder sees of x while it learns."""
        return x

    def penalty(self, code: Tensor) -> Tensor | float:
        """What is added to the reconstruction error."""
        return 0.0

    def loss(self, x: Tensor) -> Tensor:
        """Reconstruction error of x plus the penalty."""
        x = x.flatten(1)
        code = self.encode(self.corrupt(x))
        error = reconstruction_error(self.decoder(code), x, self.likelihood)
        return error + self.penalty(code)


class Autoencoder(Coder):
    """sizes[0] -> … -> sizes[-1] -> … -> sizes[0], as 784-1000-500-250-30 with logistic units and a
    linear code: Hinton and Salakhutdinov, Reducing the dimensionality of data with neural networks,
    Science 313 (2006).

    activation: of the hidden layers; code: of the innermost one. tied: the decoder's weights are
    the encoder's, transposed.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "sigmoid",
        code: str = "linear",
        likelihood: str = "bernoulli",
        tied: bool = False,
    ) -> None:
        for name in (activation, code):
            if name not in ACTIVATIONS:
                raise ValueError(f"activation {name!r}: it must be one of {', '.join(ACTIVATIONS)}")
        pairs = list(pairwise(sizes))
        if not pairs:
            raise ValueError(f"sizes {tuple(sizes)}: it must have the input's width and the code's")
        hidden = [activation] * (len(pairs) - 1)
        linears = [nn.Linear(wide, narrow) for wide, narrow in pairs]
        back = [TiedLinear(one) if tied else nn.Linear(n, w)
                for one, (w, n) in zip(linears, pairs, strict=True)]  # fmt: skip
        super().__init__(
            _alternate(linears, [*hidden, code]),
            _alternate(back[::-1], [*hidden, "linear"]),
            likelihood,
        )

    def stage(self, number: int) -> Coder:
        """One layer of the encoder and its counterpart in the decoder, on their own: the same
        parameters, so that training the stage trains the net.

        Greedy training (Bengio, Lamblin, Popovici and Larochelle, NIPS 2006): train stage 0 on the
        images, stage 1 on the codes of stage 0, and so on; then all together.
        """
        depth = len(self.encoder) // 2
        if not 0 <= number < depth:
            raise IndexError(f"stage {number}: the autoencoder has stages 0 to {depth - 1}")
        back = 2 * (depth - 1 - number)
        return Coder(
            self.encoder[2 * number : 2 * number + 2],
            self.decoder[back : back + 2],
            self.likelihood if number == 0 else "gaussian",
        )


class DenoisingAutoencoder(Autoencoder):
    """Gives back the clean image from a damaged one: Vincent, Larochelle, Bengio and Manzagol,
    Extracting and composing robust features with denoising autoencoders, ICML 2008.

    noise: "masking" sets pixels to 0 with probability `amount`, "salt and pepper" to 0 or 1 with
    equal chances, "gaussian" adds numbers of standard deviation `amount`.
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
            return x + gpudl.randn_like(x) * self.amount
        draw = gpudl.rand_like(x)
        if self.noise == "masking":
            return x.where(draw >= self.amount, 0.0)
        damaged = x.where(draw >= self.amount / 2, 0.0)
        return damaged.where(draw <= 1 - self.amount / 2, 1.0)


class SparseAutoencoder(Autoencoder):
    """More code units than needed, few of them active.

    sparsity "kl": each unit's mean ρ̂ over the batch is drawn to `target` ρ by the divergence
    Σ ρ log(ρ/ρ̂) + (1-ρ) log((1-ρ)/(1-ρ̂)) of logistic units (Lee, Ekanadham and Ng, NIPS 2007; Ng,
    Sparse autoencoder, 2011). "l1": Σ |code|, the mean over images.
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
            raise ValueError(f"sparsity 'kl' needs code 'sigmoid', got {code!r}")
        self.sparsity, self.weight, self.target = sparsity, weight, target

    def penalty(self, code: Tensor) -> Tensor:
        if self.sparsity == "l1":
            return code.abs().sum() * (self.weight / len(code))
        return kl_sparsity(code, self.target) * self.weight


def kl_sparsity(code: Tensor, target: float) -> Tensor:
    """Σ over units of KL(Bernoulli(target) ‖ Bernoulli(mean of the unit)). code: (N, units)."""
    mean = code.mean(0).clamp(1e-6, 1 - 1e-6)
    on = (target / mean).log() * target
    return (on + ((1 - target) / (1 - mean)).log() * (1 - target)).sum()


class StochasticAutoencoder(Autoencoder):
    """The code is a draw: unit j is 1 with probability sigmoid(…), else 0, and the decoder gives
    p(x | code). Outside of training the code is the probabilities.

    The gradient passes through a draw as if it were its probability (the straight-through estimate:
    Bengio, Léonard and Courville, arXiv:1308.3432, 2013).
    """

    def __init__(self, sizes: Sequence[int], activation: str = "sigmoid") -> None:
        super().__init__(sizes, activation, code="sigmoid")

    def encode(self, x: Tensor) -> Tensor:
        p = super().encode(x)
        if not self.training:
            return p
        return p + (p.detach().bernoulli() - p.detach())


class ContractiveAutoencoder(Autoencoder):
    """One layer of logistic units with tied weights, whose code changes little with its input:
    Rifai, Vincent, Muller, Glorot and Bengio, Contractive auto-encoders, ICML 2011."""

    def __init__(self, visible: int, hidden: int, weight: float = 0.1) -> None:
        super().__init__((visible, hidden), code="sigmoid", tied=True)
        self.weight = weight

    def penalty(self, code: Tensor) -> Tensor:
        return contraction(code, self.encoder[0].weight) * self.weight


def contraction(code: Tensor, weight: Tensor) -> Tensor:
    """|∂h/∂x|² (Frobenius), the mean over images, of h = sigmoid(x Wᵀ + b): the Jacobian is
    h_j (1 - h_j) W_ji, its squares sum to Σ_j (h_j (1 - h_j))² Σ_i W_ji² (Rifai et al., eq. 7)."""
    slope = code * (1 - code)
    return (slope * slope @ (weight * weight).sum(1)).mean()


def _alternate(linears: Sequence[nn.Module], activations: Sequence[str]) -> nn.Sequential:
    pairs = zip(linears, activations, strict=True)
    return nn.Sequential(*(layer for one, name in pairs for layer in (one, ACTIVATIONS[name]())))


TRAINING = {"lr": 1e-3}


@register(
    (1, 28, 28),
    "mnist",
    "Hinton and Salakhutdinov, Science 313, 2006",
    2006,
    TRAINING,
    "reconstruction",
)
def deep_autoencoder(in_channels: int = 1, image_size: int = 28) -> Autoencoder:
    """784-1000-500-250-30 and back, with ReLU units and a linear code"""
    return Autoencoder((in_channels * image_size**2, 1000, 500, 250, 30), "relu")


@register(
    (1, 28, 28),
    "mnist",
    "Vincent, Larochelle, Bengio and Manzagol, ICML 2008",
    2008,
    TRAINING,
    "reconstruction",
)
def denoising_autoencoder(in_channels: int = 1, image_size: int = 28) -> DenoisingAutoencoder:
    """One layer of 500 units that fills in a quarter of the pixels"""
    return DenoisingAutoencoder((in_channels * image_size**2, 500))


@register(
    (1, 28, 28), "mnist", "Lee, Ekanadham and Ng, NIPS 2007", 2007, TRAINING, "reconstruction"
)
def sparse_autoencoder(in_channels: int = 1, image_size: int = 28) -> SparseAutoencoder:
    """One layer of 500 units, each active for about one image in twenty"""
    return SparseAutoencoder((in_channels * image_size**2, 500))


@register(
    (1, 28, 28),
    "mnist",
    "Bengio, Léonard and Courville, arXiv:1308.3432, 2013",
    2013,
    TRAINING,
    "reconstruction",
)
def stochastic_autoencoder(in_channels: int = 1, image_size: int = 28) -> StochasticAutoencoder:
    """One layer of 500 units that are drawn, on or off"""
    return StochasticAutoencoder((in_channels * image_size**2, 500))


@register(
    (1, 28, 28),
    "mnist",
    "Rifai, Vincent, Muller, Glorot and Bengio, ICML 2011",
    2011,
    TRAINING,
    "reconstruction",
)
def contractive_autoencoder(in_channels: int = 1, image_size: int = 28) -> ContractiveAutoencoder:
    """One layer of 500 units whose code changes little with its input"""
    return ContractiveAutoencoder(in_channels * image_size**2, 500)
