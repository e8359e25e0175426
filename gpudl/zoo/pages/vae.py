"""The page on variational autoencoders."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

import gpudl
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets import vae as models
from gpudl.zoo.page import Array, Page, page
from gpudl.zoo.unsupervised import mapped, train

LIMIT = 105.0  # nats; a full run must stay below
DRAWS = (1, 10, 100)  # samples of the posterior, for the estimates of -log p
JUDGED = 200  # images for the estimates
SIDE = 13  # images per side of the plane


@page("Variational autoencoder", minutes=6)
def vae(page: Page) -> None:
    """A net that learns the distribution of images through a normally distributed code (Kingma and
    Welling, Auto-encoding variational Bayes, ICLR 2014). It is evaluated by the negative evidence
    lower bound on test images, in nats per image: an upper bound on -log p(x)."""
    x, _, x_test, y_test = page.mnist()
    x, x_test = ((images > 0.5).astype(np.float32) for images in (x, x_test))
    page.text(
        "MNIST in black and white: pixels above 0.5 are 1, the others 0, the same in every epoch "
        "(fixed binarisation). Adam, batches of 128, a learning rate that decays linearly to 0."
    )
    dense = models.DenseVAE((1, 28, 28), (500, 500), 20).to(page.device)
    convolutional = models.ConvVAE(1, 28, (16, 32), 20).to(page.device)
    plane = models.DenseVAE((1, 28, 28), (300,), 2).to(page.device)
    nets = [
        ("784-500-500-20, dense", dense, 8, 1e-3),
        ("16, 32 maps and 20, convolutional", convolutional, 4, 2e-3),
        ("784-300-2, dense", plane, 4, 1e-3),
    ]
    rows, estimates = [], []
    for name, net, epochs, lr in nets:
        train(page, net, x, epochs=epochs, lr=lr)
        parameters = sum(p.numel() for p in net.parameters())
        rows.append((name, parameters, lr, epochs, *bound(page, net, x_test)))
        estimates.append((name, *estimated(page, net, x_test[:JUDGED])))
    page.table(
        ("code and layers", "parameters", "learning rate", "epochs", "reconstruction",
         "divergence", "negative bound"),
        rows, caption="Nats per test image",
    )  # fmt: skip
    claims(page, [row[-1] for row in rows])
    page.beside(
        "-log p of a test digit, nats (theirs: 784-200-200-50, 5,000 samples, pixels sampled from "
        f"their grey values; ours: 784-500-500-20, {DRAWS[-1]} samples, pixels thresholded at 0.5)",
        86.76, estimates[0][-1], "Burda, Grosse and Salakhutdinov, ICLR 2016, table 1",
    )  # fmt: skip
    tightened(page, estimates)
    pictures(page, dense, x_test)
    draw_plane(page, plane, x_test, y_test)


def bound(page: Page, net: models.VAE, images: Array) -> tuple[float, float, float]:
    """Reconstruction error, divergence, and their sum."""
    parts = mapped(page, lambda x: gpudl.stack(net.bound(x), 1), images).mean(0)
    return float(parts[0]), float(parts[1]), float(parts.sum())


def estimated(page: Page, net: models.VAE, images: Array) -> list[float]:
    """-log p estimated from 1, 10 and 100 samples per image."""
    return [
        -float(mapped(page, lambda x, k=draws: net.log_likelihood(x, k), images, 100).mean())
        for draws in DRAWS
    ]


def claims(page: Page, bounds: list[float]) -> None:
    for kind, value in zip(("dense", "convolutional"), bounds, strict=False):
        page.check(
            f"the {kind} net's negative bound is below {LIMIT:.0f} nats", value < LIMIT,
            f"{value:.2f} nats on the test images",
        )  # fmt: skip
    page.check(
        "a code of 20 numbers is more than 10 nats better than one of "
        "2", bounds[0] < bounds[2] - 10,
        f"{bounds[2] - bounds[0]:.1f} nats",
    )  # fmt: skip


def tightened(page: Page, estimates: list[tuple[Any, ...]]) -> None:
    """How far the bound is from -log p."""
    page.table(
        ("code and layers", *(f"{k} sample{'s' * (k > 1)}" for k in DRAWS)), estimates,
        caption=f"Importance-weighted bounds on -log p, nats, mean over {JUDGED} test images. One "
        "sample gives the bound above; more samples tighten it (Burda, Grosse and Salakhutdinov, "
        "ICLR 2016, theorem 1)",
    )  # fmt: skip
    steps = [(one - ten, ten - hundred) for _, one, ten, hundred in estimates]
    page.check(
        "ten times the samples tighten the bound, and ten times more tighten it by less",
        all(first > second > 0 for first, second in steps),
        "; ".join(f"{first:.2f}, then {second:.2f} nats" for first, second in steps),
    )


def pictures(page: Page, net: models.VAE, images: Array) -> None:
    some = images[:10]
    given = mapped(page, net, some)
    page.image(
        "reconstructions",
        page.grid(np.concatenate([some, given])[:, 0], 10, 2, 0, 1),
        "Test images, and below them their reconstructions from 20 numbers",
    )
    drawn = net.sample(50).cpu().numpy()
    page.image(
        "samples", page.grid(drawn, 10, 2, 0, 1),
        "Images decoded from codes sampled from the prior: pixel probabilities",
    )  # fmt: skip


def draw_plane(page: Page, net: models.VAE, images: Array, labels: Array) -> None:
    """The images decoded from a grid of codes, and the codes of test images."""
    grid = np.stack(np.meshgrid(normal_quantiles(SIDE), -normal_quantiles(SIDE)), -1)
    decoded = mapped(page, net.decode, grid.reshape(-1, 2).astype(np.float32))
    page.image(
        "plane", page.grid(decoded, SIDE, 1, 0, 1),
        "The plane of a two-number code: images at equal steps of probability",
    )  # fmt: skip

    def mean(x: Tensor) -> Tensor:
        return net.encode(x)[0]

    codes = mapped(page, mean, images[:2000])
    with page.axes("codes", "Codes of 2,000 test images by digit", size=(5, 4)) as axes:
        for digit in range(10):
            own = codes[labels[: len(codes)] == digit]
            axes.scatter(own[:, 0], own[:, 1], s=3, label=str(digit))
        axes.legend(markerscale=3, fontsize=7, loc="upper right")
        axes.set(xlim=(-4, 4), ylim=(-4, 4))
        axes.set(xlabel="first number of the code", ylabel="second number")


def normal_quantiles(count: int) -> Array:
    """Medians of `count` equally probable parts of the standard normal distribution."""
    return np.array([NormalDist().inv_cdf((i + 0.5) / count) for i in range(count)])
