"""AlexNet on CIFAR-10, complete and with layers removed."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import gpudl
from gpudl import models
from gpudl.data import info
from gpudl.zoo.cifar import accuracies, probabilities, standardized, train
from gpudl.zoo.page import Array, Arrays, Page, page

# Top-1 error on ImageNet's validation images in per cent, by removed layers (Zeiler and Fergus
# 2014, table 3).
CUTS: dict[tuple[str, ...], float] = {
    (): 40.5,
    ("fc7",): 40.0,
    ("fc6", "fc7"): 44.8,
    ("conv3", "conv4"): 45.4,
    ("conv3", "conv4", "fc6", "fc7"): 71.3,
}
PUBLISHED = {"alexnet_2012": 60_965_224, "alexnet": 61_100_840}
EPOCHS = 3
SHOWN, LIKELIEST = 8, 5  # images, and classes shown for each


class Row(NamedTuple):
    """A net with layers removed: parameters of the paper's net and of the small one, accuracy of
    the small one, top-1 error of the paper's."""

    name: str
    parameters: int
    small: int
    accuracy: float
    published: float


@page("AlexNet", minutes=31)
def alexnet(page: Page) -> None:
    """AlexNet won the 2012 ImageNet challenge and established deep nets in computer vision
    (Krizhevsky, Sutskever and Hinton, NIPS 2012). The small version on this page has the same five
    convolutions and three linear layers, for 32x32 images, without normalisation."""
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
    """A small net and its history. All nets start from the same seed and see the same images in the
    same order."""
    gpudl.manual_seed(page.seed)
    net = models.create("alexnet_small", without=without)
    return net, train(page, net, data, EPOCHS, judge=False)


def whole(page: Page, data: Arrays) -> Any:
    net, history = trained(page, data)
    page.text(
        f"Trained for {len(history)} epochs on {len(data[0]):,} images by SGD with momentum, "
        "linear warm-up and cosine decay; images are mirrored at random. Loss and accuracy of each "
        "batch are measured before its step:"
    )
    page.table(
        ("epoch", "training loss", "training accuracy"),
        [(row.epoch, row.loss, row.accuracy) for row in history],
    )
    plain, both = accuracies(net, data[2], data[3], page.device)
    page.text(
        f"On {len(data[2]):,} test images its accuracy is {plain:.2%}, or {both:.2%} with "
        "predictions averaged over each image and its mirror image (the paper averages ten views)."
    )
    page.check("test accuracy above 75 %, averaged with mirror images", both > 0.75, f"{both:.2%}")
    return net


def answers(page: Page, net: Any, data: Arrays) -> None:
    """Images and the classes that the net ranks highest, as in the paper's figure 4."""
    images, labels = data[2][:SHOWN], data[3][:SHOWN]
    classes = info("cifar-10").classes
    likely = probabilities(net, images, page.device)
    caption = (
        f"{SHOWN} test images and the {LIKELIEST} classes that the net ranks highest, as in "
        "figure 4 of the paper; the correct class is dark."
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
    """Bars for the likeliest classes, the likeliest on top, with the names inside."""
    best = np.argsort(-chances, kind="stable")[:LIKELIEST]
    colors = ["#444444" if one == label else "#bbbbbb" for one in best]
    axes.barh(range(LIKELIEST), chances[best], color=colors, height=0.3)
    for place, one in enumerate(best):
        axes.text(0, place - 0.2, classes[one], fontsize=7, va="bottom")
    axes.set(xlim=(0, 1), ylim=(LIKELIEST - 0.5, -1))
    axes.axis("off")


def ablations(page: Page, net: Any, data: Arrays) -> None:
    """The table of nets with layers removed, and its summary."""
    rows = []
    for cut, published in CUTS.items():
        small = trained(page, data, cut)[0] if cut else net
        accuracy = accuracies(small, data[2], data[3], page.device)[0]
        parameters = models.info("alexnet_2012").summary(without=cut).parameters
        own = models.info("alexnet_small").summary(without=cut).parameters
        name = f"without {', '.join(cut)}" if cut else "complete"
        rows.append(Row(name, parameters, own, accuracy, published))
    page.text(
        "How much does each layer contribute? The nets in this table were trained like the "
        "complete one: from the same seed, on the same images in the same order, with the same "
        "learning rate."
    )
    page.table(
        (
            "net", "parameters, paper's net", "parameters, small net",
            "test accuracy, small net, %", "ImageNet accuracy, paper's net, %",
        ),
        [
            (*row[:3], f"{100 * row.accuracy:.2f}", f"{100 - row.published:.1f}") for row in rows
        ],
        caption="Right column: top-1 accuracy on the validation images, Zeiler and Fergus, ECCV "
        "2014, table 3.",
    )  # fmt: skip
    least = min(rows, key=lambda row: row.accuracy)
    page.text(
        f"{summary(rows, len(data[2]))} In the paper the net without all four layers is by far the "
        f"worst; among the small nets, the worst is the one {least.name}."
    )
    saved = rows[0].parameters - rows[1].parameters
    page.check("fc7 holds 16 million of the paper's parameters", 16e6 < saved < 17e6, f"{saved:,}")


def summary(rows: list[Row], images: int) -> str:
    """Which accuracies differ by more than chance, in words."""
    first, *others = rows
    noise = 2 * math.sqrt(2 * first.accuracy * (1 - first.accuracy) / images)
    sentences = [
        f"On {images:,} images two equally good nets differ by up to {100 * noise:.1f} points (two "
        "standard deviations; the choice of seed adds to that)."
    ]
    for row in others:
        change = row.accuracy - first.accuracy
        kind = "within that" if abs(change) < noise else "better" if change > 0 else "worse"
        sentences.append(f"{row.name.capitalize()}: {100 * change:+.1f} points, {kind}.")
    return " ".join(sentences)
