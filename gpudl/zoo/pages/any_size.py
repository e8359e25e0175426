"""One fully convolutional net for images of two sizes, and for a row of digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl import Tensor, no_grad, optim
from gpudl.models.nets.fully_convolutional import FullyConvolutional
from gpudl.nn.functional import cross_entropy
from gpudl.optim.lr_scheduler import LambdaLR
from gpudl.train.build import WarmCosine
from gpudl.train.metrics import softmax
from gpudl.zoo.page import Page, page
from gpudl.zoo.pages.sequences import answers_of

BATCH, STEPS, LR = 64, 600, 3e-3


@page("Images of any size", minutes=2)
def any_size(page: Page) -> None:
    """A fully convolutional net accepts images of any height and width: Matan, Burges, LeCun and
    Denker, NIPS 1991; Long, Shelhamer and Darrell, CVPR 2015."""
    sets = (page.mnist(12000, 2000), page.usps())
    net = FullyConvolutional(width=16).to(page.device)
    steps = page.pick(STEPS, 2)
    page.text(
        "One net learns the digits of MNIST (28×28) and USPS (16×16) at their original sizes: it "
        "averages its scores over all positions of an image. Training alternates between batches "
        f"of the two sizes, {steps} of each."
    )
    untrained = _accuracies(page, net, sets)
    _train(page, net, sets, steps)
    trained = _accuracies(page, net, sets)
    names = ("MNIST, 28×28", "USPS, 16×16")
    head = ("images", "test accuracy before", "after")
    page.table(head, list(zip(names, untrained, trained, strict=True)))
    page.check("MNIST above 94 %", trained[0] > 0.94, f"{trained[0]:.2%}")
    page.check("USPS above 90 %, with the same weights", trained[1] > 0.9, f"{trained[1]:.2%}")
    _row(page, net, sets[0][2][:6], sets[0][3][:6])


def _train(page: Page, net: Any, sets: Any, steps: int) -> None:
    rng = np.random.default_rng(page.seed)
    optimizer = optim.Adam(net.parameters(), lr=LR)
    schedule = LambdaLR(optimizer, WarmCosine(steps * len(sets)))
    net.train()
    for _ in range(steps):
        for images, labels, _, _ in sets:
            chosen = rng.integers(0, len(images), BATCH)
            optimizer.zero_grad()
            logits = net(Tensor(images[chosen], device=page.device))
            cross_entropy(logits, Tensor(labels[chosen], device=page.device)).backward()
            optimizer.step()
            schedule.step()


def _accuracies(page: Page, net: Any, sets: Any) -> list[float]:
    return [float(np.mean(answers_of(page, net, x) == y)) for _, _, x, y in sets]


def _row(page: Page, net: Any, digits: npt.NDArray[Any], labels: npt.NDArray[np.int64]) -> None:
    """Digits side by side in one image, and the net's prediction at each position."""
    row = np.concatenate(list(digits), 2)[None]  # (1, 1, 28, 168)
    with no_grad():
        scores = net.scores(Tensor(row, device=page.device)).numpy()[0].mean(1)
    caption = (
        f"One {row.shape[2]}×{row.shape[3]} image of {len(digits)} digits, read in one pass. "
        "Below: the probability of each digit at every fourth column"
    )
    with page.axes("row", caption, 2, 1, size=(6, 2.8)) as (top, bottom):
        top.imshow(row[0, 0], cmap="gray")
        top.axis("off")
        extent = (0, row.shape[3], 9.5, -0.5)
        shown = softmax(scores.T).T
        bottom.imshow(shown, aspect="auto", cmap="Blues", extent=extent, vmin=0, vmax=1)
        bottom.set(xlabel="column of the image", ylabel="digit", yticks=range(0, 10, 2))
        bottom.grid(False)
    tiles = scores.reshape(10, len(digits), -1).mean(2)  # over the columns of each digit
    right = int((tiles.argmax(0) == labels).sum())
    claim = "most digits in the row are read correctly, each from the mean over its columns"
    page.check(claim, right > len(digits) / 2, f"{right} of {len(digits)}")
