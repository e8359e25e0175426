"""CycleGAN: translation between two image domains without pairs. Zhu, Park, Isola and Efros,
Unpaired image-to-image translation using cycle-consistent adversarial networks, ICCV 2017."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import gpudl.nn.functional as F
from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.gan import frozen
from gpudl.models.registry import register
from gpudl.ops.shape.create import zeros
from gpudl.ops.shape.joining import stack


class ResidualBlock(nn.Module):
    """x + f(x), where f is two 3x3 convolutions with instance norm and reflection padding."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(*_conv(width, width, 3), *_conv(width, width, 3)[:-1])

    def forward(self, input: Tensor) -> Tensor:
        change: Tensor = self.conv_block(input)
        return input + change


class Translator(nn.Module):
    """(N, in_channels, H, W) -> (N, out_channels, H, W) in (-1, 1); H and W multiples of
    2^halvings.

    The paper's generator for 256x256 has width 64 and 9 residual blocks (6 for 128x128): a 7x7
    convolution, two that halve the side, the blocks, two that double it, a 7x7 convolution.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        width: int = 64,
        blocks: int = 9,
        halvings: int = 2,
        kernel_size: int = 7,
    ) -> None:
        super().__init__()
        layers = _conv(in_channels, width, kernel_size)
        for _ in range(halvings):
            layers += _normed(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), 2 * width)
            width *= 2
        layers += [ResidualBlock(width) for _ in range(blocks)]
        for _ in range(halvings):
            up = nn.ConvTranspose2d(width, width // 2, 3, 2, padding=1, output_padding=1)
            layers += _normed(up, width // 2)
            width //= 2
        layers += [*_conv(width, out_channels, kernel_size)[:2], nn.Tanh()]
        self.model = nn.Sequential(*layers)
        self.apply(initialize)

    def forward(self, input: Tensor) -> Tensor:
        images: Tensor = self.model(input)
        return images


class PatchDiscriminator(nn.Module):
    """(N, channels, H, W) -> one score per overlapping patch, (N, 1, P, Q): 1 for real, 0 for
    translated. Width 64 and three halvings, the paper's net, see patches of 70x70."""

    def __init__(self, channels: int = 3, width: int = 64, halvings: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        for depth in range(1, halvings + 1):
            stride = 2 if depth < halvings else 1
            convolution = nn.Conv2d(width, 2 * width, 4, stride, 1)
            layers += [convolution, nn.InstanceNorm2d(2 * width), nn.LeakyReLU(0.2)]
            width *= 2
        self.model = nn.Sequential(*layers, nn.Conv2d(width, 1, 4, 1, 1))
        self.apply(initialize)

    def forward(self, input: Tensor) -> Tensor:
        scores: Tensor = self.model(input)
        return scores


class Losses(NamedTuple):
    """Losses of the two translators, which train on the sum."""

    adversarial: Tensor
    cycle: Tensor
    identity: Tensor

    def total(self) -> Tensor:
        return self.adversarial + self.cycle + self.identity


class CycleGAN(nn.Module):
    """Translators from domain a to b and back, and a discriminator for each domain.

    cycle: weight of |back(there(x)) - x|. identity: weight, relative to cycle, of |there(y) - y|
    for y already in the target domain; 0 if the domains differ in channels.
    """

    def __init__(
        self,
        to_b: nn.Module,
        to_a: nn.Module,
        judge_a: nn.Module,
        judge_b: nn.Module,
        cycle: float = 10.0,
        identity: float = 0.5,
    ) -> None:
        super().__init__()
        self.to_b, self.to_a, self.judge_a, self.judge_b = to_b, to_a, judge_a, judge_b
        self.cycle, self.identity = cycle, identity

    def forward(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """(a translated to b, b translated to a)."""
        return self.to_b(a), self.to_a(b)

    def make_stepper(
        self, make_optimizer: Callable[..., Any], seed: int = 0, pool: int = 50
    ) -> Game:
        """The training steps of the four nets; see Game."""
        return Game(self, make_optimizer, seed, pool)

    def translator_losses(self, a: Tensor, b: Tensor, fake_b: Tensor, fake_a: Tensor) -> Losses:
        """Losses of images and their translations. Only the translators get gradients."""
        with frozen(self.judge_a, self.judge_b):
            adversarial = squares(self.judge_a(fake_a), 1.0) + squares(self.judge_b(fake_b), 1.0)
        cycle = F.l1_loss(self.to_a(fake_b), a) + F.l1_loss(self.to_b(fake_a), b)
        identity = zeros((), device=a.device)
        if self.identity:
            identity = F.l1_loss(self.to_a(a), a) + F.l1_loss(self.to_b(b), b)
        return Losses(adversarial, cycle * self.cycle, identity * (self.cycle * self.identity))

    def judge_loss(self, a: Tensor, b: Tensor, fake_b: Tensor, fake_a: Tensor) -> Tensor:
        """Half the squared error (Mao et al., ICCV 2017) to 1 for real patches, 0 for translated
        ones. Only the discriminators get gradients."""
        total = squares(self.judge_a(a), 1.0) + squares(self.judge_b(b), 1.0)
        total = total + squares(self.judge_a(fake_a.detach()), 0.0)
        total = total + squares(self.judge_b(fake_b.detach()), 0.0)
        return total * 0.5


class Game:
    """One step trains the two translators, then the two discriminators, on a batch of each domain.

    make_optimizer(parameters, **changes): called for each pair of nets, with DCGAN's betas. pool,
    seed: size and seed of the pools of earlier translations; see ImagePool.
    """

    def __init__(
        self, net: CycleGAN, make_optimizer: Callable[..., Any], seed: int = 0, pool: int = 50
    ) -> None:
        self.net = net
        pairs = {"translators": (net.to_b, net.to_a), "judges": (net.judge_a, net.judge_b)}
        self.optimizers = {
            name: make_optimizer([p for one in pair for p in one.parameters()], betas=(0.5, 0.999))
            for name, pair in pairs.items()
        }
        self.old_a, self.old_b = ImagePool(pool, seed), ImagePool(pool, seed + 1)

    def step(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        """a, b: images of the two domains in (-1, 1). "loss" is the translators'."""
        translators, judges = self.optimizers["translators"], self.optimizers["judges"]
        fake_b, fake_a = self.net(a, b)
        losses = self.net.translator_losses(a, b, fake_b, fake_a)
        loss = losses.total()
        translators.zero_grad()
        loss.backward()
        translators.step()
        judged = self.net.judge_loss(a, b, self.old_b(fake_b), self.old_a(fake_a))
        judges.zero_grad()
        judged.backward()
        judges.step()
        return {"loss": loss.detach(), "cycle": losses.cycle.detach(), "judges": judged.detach()}


def squares(scores: Tensor, goal: float) -> Tensor:
    """The mean of (score - goal)²."""
    return ((scores - goal) ** 2).mean()


class ImagePool:
    """Earlier translations for the discriminator, so that it does not forget them. With probability
    1/2 an image is swapped for one of the `size` kept. Shrivastava et al., CVPR 2017; Zhu et al.
    keep 50; size 0 returns images unchanged."""

    def __init__(self, size: int = 50, seed: int = 0) -> None:
        self.size, self.random = size, np.random.default_rng(seed)
        self.images: list[Tensor] = []

    def __call__(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape, without gradients."""
        if not self.size:
            return images.detach()
        out = []
        for image in images.detach().unbind(0):
            if len(self.images) < self.size:
                self.images.append(image)
            elif self.random.random() < 0.5:
                index = int(self.random.integers(self.size))
                image, self.images[index] = self.images[index], image
            out.append(image)
        return stack(out)


def initialize(module: nn.Module) -> None:
    """Weights from N(0, 0.02²), biases 0; for Module.apply."""
    if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
        nn.init.normal_(module.weight, 0.0, 0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _normed(convolution: nn.Module, width: int) -> list[nn.Module]:
    return [convolution, nn.InstanceNorm2d(width), nn.ReLU()]


def _conv(inputs: int, outputs: int, kernel_size: int) -> list[nn.Module]:
    """A convolution with reflection padding that preserves the size."""
    mirrored = nn.ReflectionPad2d(kernel_size // 2)
    return [mirrored, *_normed(nn.Conv2d(inputs, outputs, kernel_size), outputs)]


# ---------------------------------------------------------------- registered models


class Negatives(nn.Module):
    """A CycleGAN between images and negatives of other images. One data set provides both: half of
    each batch is inverted. The correct translation is known, so `judge` can measure it.

    (N, C, H, W) in [0, 1] -> (negatives, negatives translated back), both in [0, 1].
    """

    def __init__(self, net: CycleGAN) -> None:
        super().__init__()
        self.net: CycleGAN = net

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        negatives = self.net.to_b(images * 2 - 1)
        return (negatives + 1) * 0.5, (self.net.to_a(negatives) + 1) * 0.5

    def make_stepper(self, make_optimizer: Callable[..., Any]) -> HalfNegative:
        return HalfNegative(self.net.make_stepper(make_optimizer, pool=0))

    @no_grad()
    def judge(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Mean absolute pixel errors: of the negatives ("loss") and of the images translated there
        and back ("back")."""
        negatives, back = self(images)
        return {"loss": F.l1_loss(negatives, 1 - images), "back": F.l1_loss(back, images)}


class HalfNegative:
    """Steps of a Game on one batch: the first half as it is, the second half inverted."""

    def __init__(self, game: Game) -> None:
        self.game, self.optimizers = game, game.optimizers

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """images (N, C, H, W) in [0, 1]."""
        half = max(1, len(images) // 2)
        return self.game.step(images[:half] * 2 - 1, 1 - images[-half:] * 2)


@register(
    input_shape=(1, 28, 28),
    dataset="mnist",
    source="Zhu, Park, Isola and Efros, ICCV 2017",
    year=2017,
    training={"lr": 1e-3, "epochs": 1},
    task="own",
)
def cyclegan_negatives(in_channels: int = 1) -> Negatives:
    """A small CycleGAN that learns to invert images without seeing pairs"""
    to_b, to_a = (Translator(in_channels, in_channels, 8, 1, 1, 3) for _ in range(2))
    judge_a, judge_b = (PatchDiscriminator(in_channels, 8, 2) for _ in range(2))
    return Negatives(CycleGAN(to_b, to_a, judge_a, judge_b, identity=0.0))
