"""The page on generative adversarial nets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import gpudl
from gpudl import models, nn, optim
from gpudl.data.transforms import resize
from gpudl.models.nets import cyclegan
from gpudl.models.nets import gan as adversarial
from gpudl.models.nets.lenet import LeNet5
from gpudl.train.build import WarmCosine
from gpudl.zoo.page import Array, Page, page
from gpudl.zoo.unsupervised import batches, mapped

CONFIDENT = 0.9  # probability of a class above which an image counts as a digit
DRAWN = 1000  # images of each kind to evaluate
EPOCHS = 4
SIDE = 16  # of the translated images, as in USPS


@page("Generative adversarial nets", minutes=18)
def gan(page: Page) -> None:
    """A generator draws digits, a discriminator distinguishes them from real ones: DCGAN (Radford,
    Metz and Chintala, ICLR 2016), with labels (Mirza and Osindero 2014), and CycleGAN (Zhu, Park,
    Isola and Efros, ICCV 2017), which translates between two kinds of images without pairs. The
    nets are narrower than in the papers. A LeNet-5 trained on real digits judges the results."""
    x, y, x_test, y_test = page.mnist()
    judge = LeNet5().to(page.device)
    accuracy = learn(page, judge, (2 * x - 1, y), (2 * x_test - 1, y_test), epochs=3)
    page.text(
        f"MNIST at 28x28. The LeNet-5 that judges has an accuracy of {accuracy:.2%} on the "
        f"{len(x_test):,} test images."
    )
    rows = [judged("test images", page, judge, x_test[:DRAWN])]
    rows.append(judged("noise", page, judge, gpudl.rand(DRAWN, 1, 28, 28).numpy()))
    asked = np.arange(DRAWN) % 10
    free, courses = play(page, adversarial.dcgan, x, y)
    conditional, more = play(page, adversarial.conditional_dcgan, x, y)
    drawn = mapped(page, lambda k: free.sample(len(k)), asked)
    rows.append(judged("DCGAN", page, judge, drawn))
    answers = mapped(page, lambda k: conditional.sample(len(k), k), asked)
    rows.append(judged("conditional DCGAN", page, judge, answers))
    page.text(
        f"Both nets are trained for {EPOCHS} epochs on the training digits, in batches of 64; the "
        "learning rates decay linearly to a fifth of their initial values."
    )
    page.table(
        (f"{DRAWN:,} images", "confident", "rarest digit", "most frequent digit"), rows,
        caption=f"Confident: LeNet-5 gives one digit a probability above {CONFIDENT}. Rarest, most "
        "frequent: share of the images, as classified",
    )  # fmt: skip
    claims(page, rows, (read(page, judge, answers).argmax(1) == asked).mean())
    page.image("samples", page.grid(drawn[:60], 12, 2, 0, 1), "Images drawn by DCGAN")
    page.image(
        "conditional", page.grid(answers[:50], 10, 2, 0, 1),
        "Images drawn by the conditional DCGAN for the labels 0 to 9 in turn",
    )  # fmt: skip
    course(page, {"DCGAN": courses, "conditional DCGAN": more})
    translation(page, (small(x), y), (small(x_test[:DRAWN]), y_test[:DRAWN]))


# ---------------------------------------------------------------- digits out of noise


def play(
    page: Page, build: Callable[[], adversarial.GAN], x: Array, y: Array
) -> tuple[adversarial.GAN, list[float]]:
    """The registered model, trained for EPOCHS with a learning rate that decays linearly to a
    fifth, and the discriminator's accuracy in each twentieth of the steps."""
    net = build().to(page.device)
    lr = models.info(build.__name__).training["lr"]
    game = net.make_stepper(partial(optim.Adam, lr=lr))
    groups = [optimizer.param_groups[0] for optimizer in game.optimizers.values()]
    rates = [group["lr"] for group in groups]
    accuracies: list[gpudl.Tensor] = []
    net.train()
    for done, images, labels in batches(page, x, y, 64, EPOCHS):
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * (1 - 0.8 * done)
        accuracies.append(game.step(images, labels)["right"])
    right = gpudl.stack(accuracies).cpu().numpy()
    return net.eval(), [float(part.mean()) for part in np.array_split(right, min(20, len(right)))]


def course(page: Page, courses: dict[str, list[float]]) -> None:
    """Whether neither net wins."""
    caption = "The discriminator's accuracy: at 0.5 it guesses, at 1 it has won"
    with page.axes("game", caption, size=(4.5, 2.8)) as axes:
        for name, shares in courses.items():
            axes.plot(np.linspace(0, 1, len(shares)), shares, label=name)
        axes.set(xlabel="share of the training", ylim=(0.5, 1))
        axes.legend()
    most = max(max(shares) for shares in courses.values())
    page.check("neither discriminator wins the game", most < 0.95, f"accuracy at most {most:.1%}")


def learn(
    page: Page, net: nn.Module, train: tuple[Array, Array], test: Any, epochs: int = 2
) -> float:
    """Train a classifier; returns its test accuracy."""
    page.fit(
        net, train, test, epochs=epochs, batch_size=64,
        optimizer=optim.Adam(net.parameters(), lr=2e-3), schedule=WarmCosine,
    )  # fmt: skip
    return share(page, net.eval(), *test)


def read(page: Page, judge: nn.Module, images: Array) -> Array:
    """Probabilities of the digits: (N, 10)."""
    return mapped(page, lambda x: judge(x).softmax(1), images)


def judged(
    name: str, page: Page, judge: nn.Module, images: Array
) -> tuple[str, float, float, float]:
    """A table row for images in [0, 1]: the share classified with confidence, and the smallest and
    largest share of any digit."""
    p = read(page, judge, 2 * images - 1)
    shares = np.bincount(p.argmax(1), minlength=10) / len(p)
    return name, float((p.max(1) > CONFIDENT).mean()), float(shares.min()), float(shares.max())


def claims(page: Page, rows: list[tuple[str, float, float, float]], right: float) -> None:
    test, noise, free, conditional = rows
    page.check(
        "60 % or more of DCGAN's images are classified with confidence", free[1] >= 0.6,
        f"{free[1]:.1%}; test images {test[1]:.1%}, noise {noise[1]:.1%}",
    )  # fmt: skip
    page.check(
        "DCGAN draws every digit in 2 % or more of its images", free[2] >= 0.02,
        f"shares from {free[2]:.1%} to {free[3]:.1%}",
    )  # fmt: skip
    page.check(
        "the conditional DCGAN draws the requested digit in 85 % of cases or more",
        right >= 0.85, f"{right:.1%}, {conditional[1]:.1%} with confidence",
    )  # fmt: skip


# ---------------------------------------------------------------- translation


def translation(page: Page, train: tuple[Array, Array], test: tuple[Array, Array]) -> None:
    """Translates between white MNIST digits on black and black USPS digits on white."""
    (x, y), (a_test, y_test) = train, test
    u, v, u_test, v_test = page.usps()
    v_test = v_test[:DRAWN]
    a, b, b_test = x[: len(u)], 1 - 2 * u, 1 - 2 * u_test[:DRAWN]
    net = cycle(page, a, b)
    to_b = mapped(page, net.to_b, a_test)
    to_a = mapped(page, net.to_a, b_test)
    again = mapped(page, net.to_a, to_b)
    reader_a, reader_b = reader().to(page.device), reader().to(page.device)
    own_a = learn(page, reader_a, (x[:15000], y[:15000]), test)
    own_b = learn(page, reader_b, (b, v), (b_test, v_test))
    plain, translated = (share(page, reader_b, part, y_test) for part in (a_test, to_b))
    back, forth = (share(page, reader_a, part, v_test) for part in (b_test, to_a))
    page.table(
        ("classifier trained on", "same kind", "other kind", "other kind, translated"),
        [
            ("USPS, black on white", own_b, plain, translated),
            ("MNIST, white on black", own_a, back, forth),
        ],
        caption=f"Test accuracy of small LeNets, at {SIDE}x{SIDE}",
    )  # fmt: skip
    page.check(
        "translation helps a USPS classifier read MNIST digits",
        translated > plain + 0.2,
        f"{plain:.1%} before, {translated:.1%} after",
    )  # fmt: skip
    page.check(
        "and an MNIST classifier read USPS digits", forth > back + 0.2,
        f"{back:.1%} before, {forth:.1%} after",
    )  # fmt: skip
    rows = [a_test[:12], to_b[:12], again[:12], b_test[:12], to_a[:12]]
    page.image(
        "translated", page.grid(np.concatenate(rows), 12, 3, -1, 1),
        "MNIST; translated to USPS, black on white; and back; USPS; translated to MNIST",
    )  # fmt: skip


def small(images: Array) -> Array:
    """The inner 20x20 pixels, which contain MNIST's digits, as SIDE x SIDE in [-1, 1]."""
    inner = np.ascontiguousarray(images[:, :, 4:24, 4:24])
    return 2 * resize(inner, (SIDE, SIDE)).astype(np.float32) - 1


def cycle(page: Page, a: Array, b: Array) -> cyclegan.CycleGAN:
    """A small CycleGAN, trained on unpaired images. No identity loss: black and white swap."""
    to_b, to_a = (cyclegan.Translator(1, 1, 8, 2, 1, 3) for _ in range(2))
    judge_a, judge_b = (cyclegan.PatchDiscriminator(1, 16, 2) for _ in range(2))
    net = cyclegan.CycleGAN(to_b, to_a, judge_a, judge_b, identity=0.0).to(page.device)
    game = net.make_stepper(partial(optim.Adam, lr=1e-3), page.seed)
    count = min(len(a), len(b))
    other = np.random.default_rng(page.seed).permutation(len(b))[:count]
    pairs = np.concatenate([a[:count], b[other]], 1)  # one of each, with unrelated digits
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
