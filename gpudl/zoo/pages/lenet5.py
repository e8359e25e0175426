"""LeNet-5 on MNIST: the modern form and the original."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import no_grad, optim
from gpudl.autograd.tensor import tensor
from gpudl.data.transforms import RandomCrop
from gpudl.models.nets.lenet import LeNet5
from gpudl.models.nets.lenet_1998 import LeNet5Of1998, map_loss
from gpudl.models.nets.lenet_codes import COLUMNS, ROWS
from gpudl.train.build import WarmCosine
from gpudl.zoo.page import Page, page
from gpudl.zoo.recipes import recipe_table

PAPER, INK = -0.1, 1.175  # grey values of the paper: mean about 0, variance about 1
# Trainable parameters of each layer, from section II.B.
PUBLISHED = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164}
PAPERS_ERROR, DISTORTED_ERROR = 0.95, 0.8  # in %, after 20 passes
PASSES_TODAY, PASSES = 8, 10
J = 1.0


@page("LeNet-5", minutes=6)
def lenet5(page: Page) -> None:
    """The convolutional network that read cheques: LeCun, Bottou, Bengio and Haffner,
    Gradient-Based Learning Applied to Document Recognition, Proceedings of the IEEE 86 (1998).
    This page has its modern form, with max pooling, ReLU and softmax, and the published one: a
    table connects the maps, subsampling has trained coefficients, the activation is
    1.7159 tanh(2x/3), and the output is the nearest of ten drawn digits."""
    x, y, x_test, y_test = page.mnist()
    train, test = (_scale(x), y), (_scale(x_test), y_test)
    today, original = LeNet5().to(page.device), LeNet5Of1998().to(page.device)
    _counts(page, original)
    shift = RandomCrop(28, 2, fill=PAPER)
    of_today = page.fit(
        today, train, test, epochs=PASSES_TODAY, optimizer=optim.Adam(today.parameters(), lr=2e-3),
        transform=shift, schedule=WarmCosine,
    )  # fmt: skip
    of_original = page.fit(
        original, train, test, epochs=PASSES, optimizer=optim.Adam(original.parameters(), lr=3e-3),
        loss=lambda scores, labels: map_loss(scores, labels, J), schedule=WarmCosine,
    )  # fmt: skip
    sizes = [sum(p.numel() for p in net.parameters()) for net in (today, original)]
    _results(page, sizes, of_today[-1].test_accuracy, of_original[-1].test_accuracy)
    _curves(page, of_today, of_original)
    _filters(page, today, original)
    _codes(page, original, _scale(x_test), y_test)
    _maps(page, original, _scale(x_test), y_test)
    recipe_table(page, "lenet5-mnist", "lenet5-1998-mnist")


def _scale(images: Any) -> Any:
    return images * np.float32(INK - PAPER) + np.float32(PAPER)


def _counts(page: Page, original: LeNet5Of1998) -> None:
    rows = []
    for name, child in original.named_children():
        count = sum(p.numel() for p in child.parameters())
        if count:
            rows.append((name.upper(), PUBLISHED[name], count))
    total = sum(p.numel() for p in original.parameters())
    rows.append(("total", sum(PUBLISHED.values()), total))
    page.table(("layer", "published", "ours"), rows, caption="Trainable parameters of the original")
    page.beside("trainable parameters of the original", sum(PUBLISHED.values()), total,
                "LeCun et al. 1998, section II.B")  # fmt: skip
    page.check("the original has 60,000 trainable parameters", total == 60_000, f"{total:,}")


def _results(page: Page, sizes: list[int], today: float, original: float) -> None:
    page.table(
        ("net", "training images", "epochs", "test error"),
        [
            (f"modern, {sizes[0]:,} parameters", "shifted by up to 2 pixels", PASSES_TODAY,
             f"{1 - today:.2%}"),
            (f"original, {sizes[1]:,} parameters", "as they are", PASSES, f"{1 - original:.2%}"),
        ],
        caption="MNIST, 10,000 test images" if not page.quick else "MNIST",
    )  # fmt: skip
    section = "LeCun et al. 1998, section III.B"
    page.beside(f"original, test error in % after 20 epochs; ours after {PASSES}, with Adam",
                PAPERS_ERROR, 100 * (1 - original), section)  # fmt: skip
    page.beside("original with distorted images, test error in %; ours: modern form, shifted",
                DISTORTED_ERROR, 100 * (1 - today), section)  # fmt: skip
    page.check("accuracy of the modern form 99.0 % or more", today >= 0.99, f"{today:.2%}")
    page.check("accuracy of the original 98.8 % or more", original >= 0.988, f"{original:.2%}")


def _curves(page: Page, today: list[Any], original: list[Any]) -> None:
    with page.axes("curves", "Test error after each epoch") as axes:
        for rows, label in ((today, "modern form"), (original, "original of 1998")):
            epochs, errors = zip(*((r.epoch, 1 - r.test_accuracy) for r in rows), strict=True)
            axes.plot(epochs, [100 * e for e in errors], "o-", label=label)
        axes.set(xlabel="epoch", ylabel="test error, %", yscale="log")
        axes.legend()


def _filters(page: Page, today: Any, original: LeNet5Of1998) -> None:
    first = [today.features[0].weight.detach().numpy(), original.c1.weight.detach().numpy()]
    page.image(
        "filters",
        page.grid(np.concatenate(first)[:, 0], columns=6, scale=10),
        "The six 5x5 filters of the first layer: the modern form (top) and the original (bottom)",
    )


def _first_of_each(images: Any, labels: Any) -> Any:
    """An image of each digit, from 0 to 9."""
    return np.stack([images[np.argmax(labels == digit)] for digit in range(10)])


def _codes(page: Page, original: LeNet5Of1998, images: Any, labels: Any) -> None:
    """The output of F6 for ten digits, below its target pictures."""
    chosen = _first_of_each(images, labels)
    outputs: list[Any] = []
    handle = original.squash.register_forward_hook(lambda _, __, output: outputs.append(output))
    with no_grad():
        original(tensor(chosen, device=page.device))
    handle.remove()
    drawn = [original.output.codes.numpy(), outputs[-1].numpy()]
    pictures = np.concatenate(drawn).reshape(20, ROWS, COLUMNS)
    page.image(
        "codes",
        page.grid(pictures, columns=10, scale=5, vmin=-1.2, vmax=1.2),
        "Top: the fixed codes of the ten digits, 7x12 pixels. Bottom: the 84 units of F6 for one "
        "digit of each class",
    )


def _maps(page: Page, original: LeNet5Of1998, images: Any, labels: Any) -> None:
    """The maps of the convolutional layers for one digit."""
    hidden = tensor(_first_of_each(images, labels)[3:4], device=page.device)
    pictures = [hidden.numpy()[0, 0]]
    with no_grad():
        for layer in (original.c1, original.s2, original.c3, original.s4):
            hidden = original.squash(layer(hidden))
            pictures += list(hidden.numpy()[0])
    side = pictures[0].shape[0]
    enlarged = []
    for picture in pictures:
        factor = side // picture.shape[0]
        framed = np.full((side, side), picture.min(), np.float32)
        large = picture.repeat(factor, 0).repeat(factor, 1)
        framed[: large.shape[0], : large.shape[1]] = large
        enlarged.append(framed)
    page.image(
        "maps",
        page.grid(np.stack(enlarged), columns=15, scale=2),
        "A digit, then the maps of C1 (6), S2 (6), C3 (16) and S4 (16), enlarged to the same size",
    )
