"""AlexNet on CIFAR-10, whole and without some of its layers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import gpudl
from gpudl import models
from gpudl.data import info
from gpudl.zoo.cifar import accuracies, probabilities, standardized, train
from gpudl.zoo.page import Array, Arrays, Page, page

# Without which layers: top-1 error of the validation images of ImageNet in per cent (Zeiler and
# Fergus 2014, table 3).
CUTS: dict[tuple[str, ...], float] = {
    (): 40.5,
    ("fc7",): 40.0,
    ("fc6", "fc7"): 44.8,
    ("conv3", "conv4"): 45.4,
    ("conv3", "conv4", "fc6", "fc7"): 71.3,
}
PUBLISHED = {"alexnet_2012": 60_965_224, "alexnet": 61_100_840}
EPOCHS = 3
SHOWN, LIKELIEST = 8, 5  # images, and classes of each


class Row(NamedTuple):
    """A net without some layers: parameters of the paper's net and of the small one, accuracy of
    the small one, top-1 error of the paper's."""

    name: str
    parameters: int
    small: int
    accuracy: float
    published: float


@page("AlexNet", minutes=31)
def alexnet(page: Page) -> None:
    """AlexNet won the ImageNet contest of 2012 and began the use of deep nets for vision
    (Krizhevsky, Sutskever and Hinton, NIPS 2012). Its small form here has the same five
    convolutions and three linear layers, for images of 32x32, and no normalisation."""
    data = standardized(page.cifar10())
    net = whole(page, data)
    page.image(
        "filters",
        page.grid(net.features[0].weight.detach().to("cpu").numpy(), 16, 10),
        "The 32 filters of the first layer, 3x3 pixels of three colours.",
    )
    answers(page, net, data)
    ablations(page, net, data)
    for name, parameters in PUBLISHED.items():
        found = models.info(name).summary().parameters
        page.check(f"{name} has {parameters:,} parameters", found == parameters, f"{found:,}")
        if name == "alexnet_2012":
            page.beside("parameters, millions", 60, found / 1e6, "Krizhevsky et al. 2012, abstract")


def trained(page: Page, data: Arrays, without: tuple[str, ...] = ()) -> tuple[Any, list[Any]]:
    """A small net and its history. All start from the same seed and see the same images in the same
    order."""
    gpudl.manual_seed(page.seed)
    net = models.create("alexnet_small", without=without)
    return net, train(page, net, data, EPOCHS, judge=False)


def whole(page: Page, data: Arrays) -> Any:
    net, history = trained(page, data)
    page.text(
        f"Trained for {len(history)} epochs on {len(data[0]):,} images by SGD with momentum, the "
        "learning rate rising, then falling along a cosine; images mirrored at random. Loss and "
        "accuracy are those of each batch before the step that it causes:"
    )
    page.table(
        ("epoch", "training loss", "training accuracy"),
        [(row.epoch, row.loss, row.accuracy) for row in history],
    )
    plain, both = accuracies(net, data[2], data[3], page.device)
    page.text(
        f"Of {len(data[2]):,} test images it knows {plain:.2%}; {both:.2%} if it is also shown "
        "their mirror images and its answers are averaged, as the paper does with ten views."
    )
    page.check("test accuracy above 75 %, mirror images averaged", both > 0.75, f"{both:.2%}")
    return net


def answers(page: Page, net: Any, data: Arrays) -> None:
    """Images and the classes that the net thinks likeliest: the paper's figure 4."""
    images, labels = data[2][:SHOWN], data[3][:SHOWN]
    classes = info("cifar-10").classes
    likely = probabilities(net, images, page.device)
    caption = (
        f"{SHOWN} test images and the {LIKELIEST} classes that the net thinks likeliest, as in "
        "figure 4 of the paper; the right one is dark."
    )
    with page.axes("answers", caption, 2, SHOWN, size=(1.25 * SHOWN, 2.6)) as axes:
        for image, label, chances, (above, below) in zip(
            images, labels, likely, axes.T, strict=True
        ):
            low, high = image.min(), image.max()
            above.imshow(((image - low) / (high - low)).transpose(1, 2, 0))
            above.set_title(classes[label], fontsize=8)
            above.axis("off")
            bars(below, chances, classes, label)


def bars(axes: Any, chances: Array, classes: tuple[str, ...], label: int) -> None:
    """The likeliest classes, the likeliest above; names stand in the bars."""
    best = np.argsort(-chances, kind="stable")[:LIKELIEST]
    colors = ["#444444" if one == label else "#bbbbbb" for one in best]
    axes.barh(range(LIKELIEST), chances[best], color=colors, height=0.3)
    for place, one in enumerate(best):
        axes.text(0, place - 0.2, classes[one], fontsize=7, va="bottom")
    axes.set(xlim=(0, 1), ylim=(LIKELIEST - 0.5, -1))
    axes.axis("off")


def ablations(page: Page, net: Any, data: Arrays) -> None:
    """The table of nets without some layers, and what it says."""
    rows = []
    for cut, published in CUTS.items():
        small = trained(page, data, cut)[0] if cut else net
        accuracy = accuracies(small, data[2], data[3], page.device)[0]
        parameters = models.info("alexnet_2012").summary(without=cut).parameters
        own = models.info("alexnet_small").summary(without=cut).parameters
        name = f"without {', '.join(cut)}" if cut else "whole"
        rows.append(Row(name, parameters, own, accuracy, published))
    page.text(
        "What are the layers worth? The nets of this table were trained as the whole one was: from "
        "the same seed, on the same images in the same order, with the rate that suits the whole."
    )
    page.table(
        (
            "net", "parameters, paper's net", "parameters, small net",
            "test accuracy, small net, %", "of the paper's net on ImageNet, %",
        ),
        [
            (*row[:3], f"{100 * row.accuracy:.2f}", f"{100 - row.published:.1f}") for row in rows
        ],
        caption="Right column: first guesses of the validation images, Zeiler and Fergus, ECCV "
        "2014, table 3.",
    )  # fmt: skip
    least = min(rows, key=lambda row: row.accuracy)
    page.text(
        f"{told(rows, len(data[2]))} In the paper the net without all four layers is by far the "
        f"worst; of the small nets it is the one {least.name}."
    )
    saved = rows[0].parameters - rows[1].parameters
    page.check("fc7 holds 16 million of the paper's parameters", 16e6 < saved < 17e6, f"{saved:,}")


def told(rows: list[Row], images: int) -> str:
    """What the accuracies say, in words: which differ by more than chance makes them."""
    first, *others = rows
    noise = 2 * math.sqrt(2 * first.accuracy * (1 - first.accuracy) / images)
    sentences = [
        f"On {images:,} images two nets as good as each other differ by up to {100 * noise:.1f} "
        "points (two standard deviations; the choice of seed adds to that)."
    ]
    for row in others:
        change = row.accuracy - first.accuracy
        kind = "within that" if abs(change) < noise else "better" if change > 0 else "worse"
        sentences.append(f"{row.name.capitalize()}: {100 * change:+.1f} points, {kind}.")
    return " ".join(sentences)
