"""Generative adversarial nets (Goodfellow et al., NIPS 2014): a generator draws images, a
discriminator distinguishes them from real ones, and each learns from the other.

DCGAN: Radford, Metz and Chintala, Unsupervised representation learning with deep convolutional
generative adversarial networks, ICLR 2016. With labels: Mirza and Osindero, Conditional generative
adversarial nets, 2014.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gpudl.nn.functional as F
from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.models.registry import register
from gpudl.ops.random.fills import randn
from gpudl.ops.shape.create import arange
from gpudl.ops.shape.joining import cat


def initialize(module: nn.Module) -> None:
    """Weights from N(0, 0.02²), batch-norm scales from N(1, 0.02²), as in DCGAN."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d) and module.weight is not None:
        nn.init.normal_(module.weight, 1.0, 0.02)


class Generator(nn.Module):
    """DCGAN's generator: noise (N, latent), with num_classes also labels (N,) -> images
    (N, channels, S, S) in (-1, 1), S = start · 2^len(widths).

    The first layer gives maps of start x start; each further layer doubles the side. The paper's
    net for 64x64 has widths (1024, 512, 256, 128) and start 4; for 28x28 use two widths and start
    7.
    """

    def __init__(
        self,
        latent: int = 100,
        channels: int = 3,
        widths: Sequence[int] = (1024, 512, 256, 128),
        start: int = 4,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        self.latent, self.num_classes = latent, num_classes
        layers: list[nn.Module] = []
        inputs = latent + num_classes
        for depth, width in enumerate(widths):
            up = (4, 2, 1) if depth else (start, 1, 0)
            layers += [
                nn.ConvTranspose2d(inputs, width, *up, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            inputs = width
        self.main = nn.Sequential(
            *layers, nn.ConvTranspose2d(inputs, channels, 4, 2, 1, bias=False), nn.Tanh()
        )
        self.apply(initialize)

    def forward(self, noise: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.num_classes:
            noise = cat([noise, one_hot_like(labels, self.num_classes, noise)], 1)
        images: Tensor = self.main(noise.reshape(*noise.shape, 1, 1))
        return images


class Discriminator(nn.Module):
    """DCGAN's discriminator: images (N, channels, S, S), with num_classes also labels (N,) ->
    logits (N,) of being real. It mirrors the generator: strided convolutions, leaky ReLU, batch
    norm except in the first layer. A label becomes one-hot maps beside the image's channels."""

    def __init__(
        self,
        channels: int = 3,
        widths: Sequence[int] = (128, 256, 512, 1024),
        start: int = 4,
        num_classes: int = 0,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        layers: list[nn.Module] = []
        inputs = channels + num_classes
        for depth, width in enumerate(widths):
            layers.append(nn.Conv2d(inputs, width, 4, 2, 1, bias=False))
            if depth:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.LeakyReLU(0.2))
            inputs = width
        self.main = nn.Sequential(*layers, nn.Conv2d(inputs, 1, start, bias=False))
        self.apply(initialize)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.num_classes:
            one_hot = one_hot_like(labels, self.num_classes, images)
            maps = one_hot.reshape(*one_hot.shape, 1, 1).expand(-1, -1, *images.shape[2:])
            images = cat([images, maps], 1)
        logits: Tensor = self.main(images)
        return logits.flatten(0)


def one_hot_like(labels: Tensor | None, num_classes: int, other: Tensor) -> Tensor:
    """One-hot labels (N, num_classes) in the dtype of `other`."""
    if labels is None:
        raise ValueError(
            f"labels is None; a conditional net needs labels (N,), 0 to {num_classes - 1}"
        )
    columns = arange(num_classes, device=labels.device)
    one_hot: Tensor = labels.reshape(-1, 1) == columns  # F.one_hot reads the labels: a sync
    return one_hot.to(other.dtype)


class GAN(nn.Module):
    """A generator and a discriminator. Images are in [0, 1], between the nets in (-1, 1)."""

    def __init__(self, generator: Generator, discriminator: Discriminator) -> None:
        super().__init__()
        self.generator: Generator = generator
        self.discriminator: Discriminator = discriminator

    def forward(self, images: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(logits of the images, logits of as many generated ones), both (N,)."""
        labels = self.classes(len(images)) if labels is None else labels
        fake = self.generator(self.noise(len(images)), labels)
        return self.discriminator(images * 2 - 1, labels), self.discriminator(fake, labels)

    def noise(self, count: int) -> Tensor:
        """(count, latent) samples of N(0, 1)."""
        return randn(count, self.generator.latent, device=self.device)

    def classes(self, count: int) -> Tensor | None:
        """(count,) labels, cycling through the classes; None for an unconditional net."""
        number = self.generator.num_classes
        return arange(count, device=self.device) % number if number else None

    @property
    def device(self) -> Any:
        return next(self.parameters()).device

    @no_grad()
    def sample(self, count: int, labels: Tensor | None = None) -> Tensor:
        """(count, C, S, S) in [0, 1]. labels: for a conditional net; by default they cycle through
        the classes."""
        labels = self.classes(count) if labels is None else labels
        images: Tensor = self.generator(self.noise(count), labels)
        return (images + 1) * 0.5

    def make_stepper(self, make_optimizer: Callable[..., Any]) -> Game:
        """The training steps of the two nets; see Game."""
        return Game(self, make_optimizer)


class Game:
    """One step trains the discriminator, then the generator, each once, on one batch.

    make_optimizer(parameters, **changes): called for each net, with DCGAN's betas. pace: ratio of
    the discriminator's learning rate to the generator's. With 1 the discriminator of a small net is
    certain before the generator can learn anything.
    """

    def __init__(self, gan: GAN, make_optimizer: Callable[..., Any], pace: float = 0.4) -> None:
        self.gan = gan
        self.optimizers = {
            name: make_optimizer(net.parameters(), betas=(0.5, 0.999))
            for name, net in (("generator", gan.generator), ("discriminator", gan.discriminator))
        }
        for group in self.optimizers["discriminator"].param_groups:
            group["lr"] *= pace

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """images: (N, C, S, S) in [0, 1]; labels: (N,).

        "loss": the generator's. "right": the discriminator's accuracy on real and generated images;
        at 0.5 it guesses, at 1 neither net learns any more.
        """
        judge, optimizers = self.gan.discriminator, self.optimizers
        known = labels if judge.num_classes else None
        fake = self.gan.generator(self.gan.noise(len(images)), known)
        optimizers["discriminator"].zero_grad()
        on_real, on_fake = judge(images * 2 - 1, known), judge(fake.detach(), known)
        judged = discriminator_loss(on_real, on_fake)
        judged.backward()
        optimizers["discriminator"].step()
        optimizers["generator"].zero_grad()
        loss = generator_loss(judge, fake, known)
        loss.backward()
        optimizers["generator"].step()
        correct = cat([on_real.detach() > 0, on_fake.detach() < 0]).to(loss.dtype)
        return {"loss": loss.detach(), "discriminator": judged.detach(), "right": correct.mean()}


# ---------------------------------------------------------------- losses


def discriminator_loss(on_real: Tensor, on_fake: Tensor) -> Tensor:
    """-log D(real) - log(1 - D(fake)), averaged over images, from the discriminator's logits of a
    real and a fake batch."""
    return F.softplus(-on_real).mean() + F.softplus(on_fake).mean()


def generator_loss(discriminator: nn.Module, fake: Tensor, labels: Tensor | None = None) -> Tensor:
    """-log D(fake), averaged over images: the non-saturating loss, whose gradient does not vanish
    while the discriminator wins (Goodfellow et al. 2014, section 3). Only the generator gets
    gradients."""
    with frozen(discriminator):
        logits = discriminator(fake, *(() if labels is None else (labels,)))
    return F.softplus(-logits).mean()


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Computations in this context give the modules' parameters no gradients; their inputs still
    get them."""
    trained = [p for module in modules for p in module.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad = False
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad = True


# ---------------------------------------------------------------- registered models

TRAINING = {"lr": 1e-3, "epochs": 2, "schedule": "cosine"}


def _small(in_channels: int, image_size: int, num_classes: int, width: int) -> GAN:
    """Nets for images whose side is a multiple of 4; the generator's first maps have a quarter of
    it. The generator, whose task is harder, is wider."""
    if image_size % 4:
        raise ValueError(f"dcgan: image_size is {image_size}; it must be a multiple of 4")
    if width < 2:
        raise ValueError(f"dcgan: width is {width}; it must be 2 or more")
    start = image_size // 4
    return GAN(
        Generator(64, in_channels, (2 * width, width), start, num_classes),
        Discriminator(in_channels, (width // 2, width), start, num_classes),
    )


@register(
    input_shape=(1, 28, 28),
    dataset="mnist",
    source="Radford, Metz and Chintala, ICLR 2016",
    year=2016,
    training=TRAINING,
    task="own",
)
def dcgan(in_channels: int = 1, image_size: int = 28, width: int = 48) -> GAN:
    """A small DCGAN: a generator and a discriminator of three layers each"""
    return _small(in_channels, image_size, 0, width)


@register(
    input_shape=(1, 28, 28),
    dataset="mnist",
    source="Mirza and Osindero, arXiv:1411.1784, 2014",
    year=2014,
    training=TRAINING,
    task="own",
)
def conditional_dcgan(
    num_classes: int = 10, in_channels: int = 1, image_size: int = 28, width: int = 48
) -> GAN:
    """A small DCGAN that draws images of a given class"""
    return _small(in_channels, image_size, num_classes, width)
