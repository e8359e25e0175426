"""Autoencoders: nets that learn a code by reconstructing their input.

Each has `encode` (images to codes), `decode` (codes to images), `forward` (both) and `loss` (the
mean over images of a sum over pixels, in nats).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import gpudl.nn.functional as F
from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.registry import register
from gpudl.ops.shape.create import zeros

ACTIVATIONS = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
}
LIKELIHOODS = ("bernoulli", "gaussian")


def reconstruction_error(output: Tensor, x: Tensor, likelihood: str) -> Tensor:
    """-log p(x | output), summed over pixels, averaged over images.

    "bernoulli": x in [0, 1], output the logits. "gaussian": variance 1, without the constant:
    |x - output|²/2.
    """
    if likelihood == "bernoulli":
        total = F.binary_cross_entropy_with_logits(output, x, reduction="sum")
    else:
        total = F.mse_loss(output, x, reduction="sum") * 0.5
    return total / len(x)


class TiedLinear(nn.Module):
    """y = x W + b, where W is the weight of the opposite Linear and b a separate parameter."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias = nn.Parameter(zeros(linear.in_features, device=linear.weight.device))

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight.t(), self.bias)


class Coder(nn.Module):
    """Base of the dense autoencoders: an encoder and a decoder. Subclasses override single steps
    of `loss`."""

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
        """The encoder's input in `loss`."""
        return x

    def penalty(self, code: Tensor) -> Tensor | float:
        """The term added to the reconstruction error."""
        return 0.0

    def loss(self, x: Tensor) -> Tensor:
        """Reconstruction error of x plus the penalty."""
        x = x.flatten(1)
        code = self.encode(self.corrupt(x))
        error = reconstruction_error(self.decoder(code), x, self.likelihood)
        return error + self.penalty(code)


class Autoencoder(Coder):
    """sizes[0] -> … -> sizes[-1] -> … -> sizes[0], such as 784-1000-500-250-30 with logistic units
    and a linear code: Hinton and Salakhutdinov, Reducing the dimensionality of data with neural
    networks, Science 313 (2006).

    activation: of the hidden layers. code: activation of the code layer. tied: the decoder's
    weights are the encoder's, transposed.
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
                raise ValueError(
                    f"activation is {name!r}; it must be one of {', '.join(ACTIVATIONS)}"
                )
        pairs = list(pairwise(sizes))
        if not pairs:
            raise ValueError(
                f"sizes is {tuple(sizes)}; it must have at least the widths of input and code"
            )
        hidden = [activation] * (len(pairs) - 1)
        linears = [nn.Linear(wide, narrow) for wide, narrow in pairs]
        mirrored = [TiedLinear(linear) if tied else nn.Linear(n, w)
                    for linear, (w, n) in zip(linears, pairs, strict=True)]  # fmt: skip
        super().__init__(
            _alternate(linears, [*hidden, code]),
            _alternate(mirrored[::-1], [*hidden, "linear"]),
            likelihood,
        )

    def stage(self, number: int) -> Coder:
        """One layer of the encoder and its counterpart in the decoder as an autoencoder. It shares
        their parameters, so training the stage trains the net.

        Greedy training (Bengio, Lamblin, Popovici and Larochelle, NIPS 2006): train stage 0 on the
        images, stage 1 on the codes of stage 0, and so on; then all together.
        """
        depth = len(self.encoder) // 2
        if not 0 <= number < depth:
            raise IndexError(f"stage is {number}; the autoencoder has stages 0 to {depth - 1}")
        mirrored = 2 * (depth - 1 - number)
        return Coder(
            self.encoder[2 * number : 2 * number + 2],
            self.decoder[mirrored : mirrored + 2],
            self.likelihood if number == 0 else "gaussian",
        )


def _alternate(linears: Sequence[nn.Module], activations: Sequence[str]) -> nn.Sequential:
    pairs = zip(linears, activations, strict=True)
    return nn.Sequential(*(layer for one, name in pairs for layer in (one, ACTIVATIONS[name]())))


TRAINING = {"lr": 1e-3}
HINTON = "Hinton and Salakhutdinov, Science 313, 2006"


@register(
    (1, 28, 28),
    "mnist",
    "Rumelhart, Hinton and Williams, Parallel Distributed Processing, 1986",
    1986,
    TRAINING,
    "reconstruction",
)
def plain_autoencoder(
    in_channels: int = 1, image_size: int = 28, width: int = 500, tied: bool = False
) -> Autoencoder:
    """One layer of 500 logistic units and back"""
    return Autoencoder((in_channels * image_size**2, width), code="sigmoid", tied=tied)


@register((1, 28, 28), "mnist", HINTON, 2006, TRAINING, "reconstruction")
def deep_autoencoder(
    in_channels: int = 1,
    image_size: int = 28,
    widths: Sequence[int] = (1000, 500, 250, 30),
    activation: str = "relu",
    tied: bool = False,
) -> Autoencoder:
    """784-1000-500-250-30 and back, with ReLU units and a linear code"""
    return Autoencoder((in_channels * image_size**2, *widths), activation, tied=tied)
