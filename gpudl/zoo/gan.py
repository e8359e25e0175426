"""The page of the adversarial nets."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import gpudl
from gpudl import nn, optim
from gpudl.data.transforms import resize
from gpudl.models import cyclegan
from gpudl.models import gan as adversarial
from gpudl.zoo.page import Array, Page, page
from gpudl.zoo.unsupervised import batches, mapped

CONFIDENT = 0.9  # probability of a class above which an image counts as a digit
SIDE = 16  # of all images


@page("Generative adversarial nets", minutes=8)
def gan(page: Page) -> None:
    """A generator draws digits, a discriminator tells them from real ones: DCGAN (Radford, Metz and
    Chintala, ICLR 2016), with labels (Mirza and Osindero 2014), and CycleGAN (Zhu, Park, Isola and
    Efros, ICCV 2017), which translates between two kinds of images without pairs. Nets are smaller
    than in the papers. Who judges is a small LeNet that learned real digits."""
    x, y, x_test, y_test = page.mnist()
    x, x_test = small(x), small(x_test[:1000])
    judge = reader().to(page.device)
    accuracy = learn(page, judge, (x[:15000], y[:15000]), (x_test, y_test[:1000]))
    page.text(
        f"MNIST at {SIDE}x{SIDE}. The small LeNet that judges reads {accuracy:.1%} of test images."
    )
    rows = [judged("test images", page, judge, x_test)]
    rows.append(judged("noise", page, judge, 2 * gpudl.rand(1000, 1, SIDE, SIDE).numpy() - 1))
    asked = np.arange(1000) % 10
    free, conditional = play(page, x, y, 0), play(page, x, y, 10)
    drawn = 2 * mapped(page, lambda k: free.sample(len(k)), asked) - 1
    rows.append(judged("DCGAN", page, judge, drawn))
    answers = 2 * mapped(page, lambda k: conditional.sample(len(k), k), asked) - 1
    rows.append(judged("conditional DCGAN", page, judge, answers))
    page.table(
        ("1,000 images", "read with confidence", "rarest digit", "most frequent digit"), rows,
        caption=f"Confidence: a digit has a probability above {CONFIDENT}. Digits: their shares as "
        "they are read",
    )  # fmt: skip
    claims(page, rows, (read(page, judge, answers).argmax(1) == asked).mean())
    page.image("samples", page.grid(drawn[:60], 12, 3, -1, 1), "Images that DCGAN draws")
    page.image(
        "conditional", page.grid(answers[:50], 10, 3, -1, 1),
        "Images of the conditional DCGAN, asked for 0 to 9 in turn",
    )  # fmt: skip
    translation(page, x, y, x_test, y_test[:1000], judge)


# ---------------------------------------------------------------- digits out of noise


def play(page: Page, x: Array, y: Array, num_classes: int) -> adversarial.GAN:
    """A DCGAN that has learned from all images; with classes, the conditional one."""
    generator = adversarial.Generator(64, 1, (32, 16), SIDE // 4, num_classes)
    discriminator = adversarial.Discriminator(1, (16, 32), SIDE // 4, num_classes)
    net = adversarial.GAN(generator, discriminator).to(page.device)
    game = net.make_stepper(partial(optim.Adam, lr=1e-3))
    groups = [optimizer.param_groups[0] for optimizer in game.optimizers.values()]
    rates = [group["lr"] for group in groups]
    net.train()
    for done, images, labels in batches(page, (x + 1) / 2, y, 64, epochs=2):
        for group, lr in zip(groups, rates, strict=True):
            group["lr"] = lr * (1 - 0.8 * done)
        game.step(images, labels)
    return net.eval()


def learn(page: Page, net: nn.Module, train: tuple[Array, Array], test: Any) -> float:
    """Test accuracy of a classifier after two epochs."""
    page.fit(
        net, train, test, epochs=2, batch_size=64, optimizer=optim.Adam(net.parameters(), lr=2e-3)
    )
    return float((read(page, net.eval(), test[0]).argmax(1) == test[1]).mean())


def read(page: Page, judge: nn.Module, images: Array) -> Array:
    """Probabilities of the digits: (N, 10)."""
    return mapped(page, lambda x: judge(x).softmax(1), images)


def judged(
    name: str, page: Page, judge: nn.Module, images: Array
) -> tuple[str, float, float, float]:
    """Share of images read with confidence; smallest and largest share of a digit."""
    p = read(page, judge, images)
    shares = np.bincount(p.argmax(1), minlength=10) / len(p)
    return name, float((p.max(1) > CONFIDENT).mean()), float(shares.min()), float(shares.max())


def claims(page: Page, rows: list[tuple[str, float, float, float]], right: float) -> None:
    free, conditional = rows[2], rows[3]
    page.check(
        "DCGAN's images are read with confidence, a third of them or more", free[1] > 1 / 3,
        f"{free[1]:.1%} of them, {rows[0][1]:.1%} of test images, {rows[1][1]:.1%} of noise",
    )  # fmt: skip
    page.check(
        "DCGAN draws every digit", free[2] > 0.02, f"shares from {free[2]:.1%} to {free[3]:.1%}"
    )
    page.check("the conditional DCGAN draws the digit that is asked for", right > 0.75,
               f"{right:.1%}, {conditional[1]:.1%} read with confidence")  # fmt: skip


# ---------------------------------------------------------------- from one kind to the other


def translation(
    page: Page, x: Array, y: Array, a_test: Array, y_test: Array, reader_a: nn.Module
) -> None:
    """White MNIST digits on black, and USPS digits printed black on white."""
    u, v, u_test, v_test = page.usps()
    a, b, b_test = x[: len(u)], 1 - 2 * u, 1 - 2 * u_test[:1000]
    net = cycle(page, a, b)
    to_b = mapped(page, net.to_b, a_test)
    to_a = mapped(page, net.to_a, b_test)
    again = mapped(page, net.to_a, to_b)
    reader_b = reader().to(page.device)
    own_a = share(page, reader_a, a_test, y_test)
    own_b = learn(page, reader_b, (b, v), (b_test, v_test[:1000]))
    plain, translated = (share(page, reader_b, part, y_test) for part in (a_test, to_b))
    back, forth = (share(page, reader_a, part, v_test) for part in (b_test, to_a))
    page.table(
        ("reader learned", "digits of its own kind", "of the other, as they are", "translated"),
        [
            ("USPS, black on white", own_b, plain, translated),
            ("MNIST, white on black", own_a, back, forth),
        ],
        caption="Share of test digits read right by small LeNets",
    )  # fmt: skip
    page.check(
        "MNIST digits are read better by a reader of USPS once translated",
        translated > plain + 0.2,
        f"{plain:.1%} before, {translated:.1%} after",
    )  # fmt: skip
    page.check(
        "and USPS digits by a reader of MNIST", forth > back + 0.2,
        f"{back:.1%} before, {forth:.1%} after",
    )  # fmt: skip
    rows = [a_test[:12], to_b[:12], again[:12], b_test[:12], to_a[:12]]
    page.image(
        "translated", page.grid(np.concatenate(rows), 12, 3, -1, 1),
        "MNIST; translated to USPS on paper; and back; USPS on paper; translated to MNIST",
    )  # fmt: skip


def small(images: Array) -> Array:
    """The inner 20x20 pixels, where MNIST's digits stand, as SIDE x SIDE in [-1, 1]."""
    inner = np.ascontiguousarray(images[:, :, 4:24, 4:24])
    return 2 * resize(inner, (SIDE, SIDE)).astype(np.float32) - 1


def cycle(page: Page, a: Array, b: Array) -> cyclegan.CycleGAN:
    """A small CycleGAN, trained on unpaired images. No identity loss: black is white there."""
    to_b, to_a = (cyclegan.Translator(1, 1, 8, 2, 1, 3) for _ in range(2))
    judge_a, judge_b = (cyclegan.PatchDiscriminator(1, 16, 2) for _ in range(2))
    net = cyclegan.CycleGAN(to_b, to_a, judge_a, judge_b, identity=0.0).to(page.device)
    game = net.make_stepper(partial(optim.Adam, lr=1e-3), page.seed)
    count = min(len(a), len(b))
    other = np.random.default_rng(page.seed).permutation(len(b))[:count]
    pairs = np.concatenate([a[:count], b[other]], 1)  # one of each, not of the same digit
    for done, both, _ in batches(page, pairs, np.zeros(count, np.int64), 32, epochs=1):
        for optimizer in game.optimizers.values():
            optimizer.param_groups[0]["lr"] = 1e-3 * min(1.0, 2 * (1 - done))
        game.step(both[:, :1], both[:, 1:])
    return net.eval()


def reader() -> nn.Module:
    """A small LeNet for SIDE x SIDE images."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def share(page: Page, judge: nn.Module, images: Array, labels: Array) -> float:
    return float((read(page, judge, images).argmax(1) == labels[: len(images)]).mean())
