"""AlexNet on CIFAR-10, whole and without some of its layers."""

from __future__ import annotations

from typing import Any

from gpudl import models
from gpudl.zoo.cifar import accuracies, standardized, train
from gpudl.zoo.page import Arrays, Page, page

CUTS = ((), ("fc7",), ("fc6", "fc7"), ("conv3", "conv4"), ("conv3", "conv4", "fc6", "fc7"))
PUBLISHED = {"alexnet_2012": 60_965_224, "alexnet": 61_100_840}


@page("AlexNet", minutes=9)
def alexnet(page: Page) -> None:
    """AlexNet won the ImageNet contest of 2012 and began the use of deep nets for vision
    (Krizhevsky, Sutskever and Hinton, NIPS 2012). Its small form here has the same five
    convolutions and three linear layers, for images of 32x32, and no normalisation."""
    data = standardized(page.cifar10())
    net = models.create("alexnet_small")
    history = train(page, net, data, epochs=3, judge=False)
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
    page.text("What the layers are worth (after Zeiler and Fergus, ECCV 2014, table 3):")
    ablations(page, data)


def ablations(page: Page, data: Arrays) -> None:
    """The table of nets without some layers: parameters of the paper's net, accuracy of the small
    one."""
    x_train, y_train, x_test, y_test = data
    count, judged = page.pick((8000, 2000), (64, 64))
    part = (x_train[:count], y_train[:count], x_test[:judged], y_test[:judged])
    rows: list[tuple[Any, ...]] = []
    for cut in CUTS:
        small = models.create("alexnet_small", without=cut)
        train(page, small, part, epochs=1, judge=False)
        accuracy = accuracies(small, part[2], part[3], page.device)[0]
        parameters = models.info("alexnet_2012").summary(without=cut).parameters
        own = models.info("alexnet_small").summary(without=cut).parameters
        name = f"without {', '.join(cut)}" if cut else "whole"
        rows.append((name, parameters, own, accuracy))
    page.table(
        ("net", "parameters, paper's net", "parameters, small net", "test accuracy, small net"),
        rows,
        caption=f"Each small net trained once through {count:,} images, judged by {judged:,}: so "
        "short that layers which need longer to learn count little.",
    )
    for name, parameters in PUBLISHED.items():
        found = models.info(name).summary().parameters
        page.check(f"{name} has {parameters:,} parameters", found == parameters, f"{found:,}")
    saved = rows[0][1] - rows[1][1]
    page.check("fc7 holds 16 million of the paper's parameters", 16e6 < saved < 17e6, f"{saved:,}")
