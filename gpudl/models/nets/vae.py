"""Variational autoencoders: Kingma and Welling, Auto-encoding variational Bayes, ICLR 2014.

Pixels in [0, 1] are independent Bernoulli variables given the code, p(x | z). Codes z have the
prior N(0, I); the encoder gives the posterior q(z | x) = N(mean, diag(exp(log_variance))).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import gpudl.nn.functional as F
from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.models.registry import register
from gpudl.ops.random.fills import randn, randn_like
from gpudl.ops.reduce.moments import logsumexp
from gpudl.ops.shape.joining import stack


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) ‖ N(0, 1)), summed over the code: (N, latent) -> (N,).

    Source: Kingma and Welling 2014, appendix B.
    """
    terms = mean * mean + log_variance.exp() - log_variance - 1
    return terms.sum(1) * 0.5


class VAE(nn.Module):
    """encoder: images -> (N, 2·latent), mean and log variance. decoder: codes (N, latent) -> pixel
    logits (N, …). threshold: `loss` rounds pixels to 1 above it and 0 below; None leaves them as
    they are."""

    threshold: float | None = None

    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.latent = encoder, decoder, latent

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, …) -> mean and log variance of q(z | x), each (N, latent)."""
        mean, log_variance = self.encoder(x).split(self.latent, 1)
        return mean, log_variance

    def draw(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Sample z = mean + standard deviation · ε, ε from N(0, 1); differentiable in both."""
        return mean + (log_variance * 0.5).exp() * randn_like(mean)

    def decode(self, code: Tensor) -> Tensor:
        """(N, latent) -> pixel probabilities (N, …)."""
        return F.sigmoid(self.decoder(code))

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruct images: in training from a sampled code, in evaluation from the mean."""
        mean, log_variance = self.encode(x)
        code = self.draw(mean, log_variance) if self.training else mean
        return self.decode(code)

    def bound(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(reconstruction error, divergence) of each image in nats, (N,) each, from one sampled
        code. The expected sum is the negative evidence lower bound, at least -log p(x)."""
        mean, log_variance = self.encode(x)
        error = self.error(self.draw(mean, log_variance), x)
        return error, kl_to_standard_normal(mean, log_variance)

    def error(self, code: Tensor, x: Tensor) -> Tensor:
        """-log p(x | code) of each image: (N,)."""
        pixels, logits = x.flatten(1), self.decoder(code).flatten(1)
        losses = F.binary_cross_entropy_with_logits(logits, pixels, reduction="none")
        return losses.sum(1)

    def loss(self, x: Tensor) -> Tensor:
        """The negative evidence lower bound in nats, averaged over images."""
        if self.threshold is not None:
            x = (x > self.threshold).to(x.dtype)
        error, divergence = self.bound(x)
        return (error + divergence).mean()

    @no_grad()
    def log_likelihood(self, x: Tensor, samples: int = 50) -> Tensor:
        """An estimate of log p(x), (N,): the log of the mean of p(x, z)/q(z | x) over samples of
        the posterior. Tighter than the bound: Burda, Grosse and Salakhutdinov, Importance weighted
        autoencoders, ICLR 2016."""
        mean, log_variance = self.encode(x)
        weights = []
        for _ in range(samples):
            noise = randn_like(mean)
            code = mean + (log_variance * 0.5).exp() * noise
            ratio = (noise * noise + log_variance - code * code).sum(1) * 0.5  # log p(z)/q(z|x)
            weights.append(ratio - self.error(code, x))
        return logsumexp(stack(weights), 0) - math.log(samples)

    @no_grad()
    def sample(self, count: int) -> Tensor:
        """Pixel probabilities (count, …) of codes sampled from the prior."""
        device = next(self.parameters()).device
        return self.decode(randn(count, self.latent, device=device))


class DenseVAE(VAE):
    """Fully connected with ReLU: (N, *shape) -> hidden… -> latent and back."""

    def __init__(
        self,
        shape: tuple[int, int, int] = (1, 28, 28),
        hidden: Sequence[int] = (500, 500),
        latent: int = 20,
        threshold: float | None = None,
    ) -> None:
        pixels = math.prod(shape)
        encoder = nn.Sequential(nn.Flatten(), *_dense([pixels, *hidden, 2 * latent]))
        decoder = nn.Sequential(*_dense([latent, *reversed(hidden), pixels]), Maps(shape))
        super().__init__(encoder, decoder, latent)
        self.threshold = threshold


class ConvVAE(VAE):
    """Two strided convolutions and a linear layer, mirrored by the decoder. (N, C, side, side); the
    side is a multiple of 4."""

    def __init__(
        self,
        in_channels: int = 1,
        side: int = 28,
        widths: tuple[int, int] = (16, 32),
        latent: int = 20,
        threshold: float | None = None,
    ) -> None:
        if side % 4:
            raise ValueError(f"ConvVAE: side is {side}; it must be a multiple of 4")
        first, second = widths
        small = (second, side // 4, side // 4)
        encoder = nn.Sequential(
            nn.Conv2d(in_channels, first, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(first, second, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(math.prod(small), 2 * latent),
        )
        decoder = nn.Sequential(
            nn.Linear(latent, math.prod(small)),
            nn.ReLU(),
            Maps(small),
            nn.ConvTranspose2d(second, first, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(first, in_channels, 4, stride=2, padding=1),
        )
        super().__init__(encoder, decoder, latent)
        self.threshold = threshold


class Maps(nn.Module):
    """(N, C·H·W) -> (N, C, H, W)."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, input: Tensor) -> Tensor:
        return input.reshape(-1, *self.shape)


def _dense(sizes: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1]


SOURCE = "Kingma and Welling, ICLR 2014"


@register((1, 28, 28), "mnist", SOURCE, 2014, training={"lr": 1e-3}, task="reconstruction")
def dense_vae(
    in_channels: int = 1,
    image_size: int = 28,
    hidden: Sequence[int] = (500, 500),
    latent: int = 20,
    threshold: float | None = None,
) -> DenseVAE:
    """A variational autoencoder, 784-500-500 with a code of 20 normal numbers, and back"""
    return DenseVAE((in_channels, image_size, image_size), hidden, latent, threshold)


@register((1, 28, 28), "mnist", SOURCE, 2014, training={"lr": 1e-3}, task="reconstruction")
def conv_vae(
    in_channels: int = 1,
    image_size: int = 28,
    latent: int = 20,
    threshold: float | None = None,
) -> ConvVAE:
    """A variational autoencoder of two convolutions, and back"""
    return ConvVAE(in_channels, image_size, latent=latent, threshold=threshold)
