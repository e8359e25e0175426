"""VGG: the published sizes, and a small one on CIFAR-10."""

from __future__ import annotations

from gpudl import models
from gpudl.models.vgg import DEPTHS
from gpudl.zoo.cifar import standardized, train
from gpudl.zoo.page import Page, page

PUBLISHED = {11: 132_863_336, 13: 133_047_848, 16: 138_357_544, 19: 143_667_240}


@page("VGG", minutes=3)
def vgg(page: Page) -> None:
    """VGG is nothing but 3x3 convolutions, two to four between poolings: two of them see 5x5
    pixels, three 7x7, with fewer weights and more rectifiers than one large filter (Simonyan and
    Zisserman, ICLR 2015). The small net of this page has three blocks of two, with batch
    normalisation."""
    rows = []
    for depth in DEPTHS:
        found = models.info(f"vgg{depth}").summary()
        normed = models.info(f"vgg{depth}_bn").summary().parameters
        rows.append((f"VGG-{depth}", found.parameters, normed, found.multiply_adds / 1e9))
        wanted = PUBLISHED[depth]
        page.check(
            f"VGG-{depth} has {wanted:,} parameters",
            found.parameters == wanted,
            f"{found.parameters:,}",
        )
    head = ("net", "parameters", "with batch norm", "10⁹ multiply-adds an image")
    page.table(head, rows, caption="The nets of the paper, for images of 224x224.")
    data = standardized(page.cifar10())
    net = models.create("vgg_small")
    history = train(page, net, data, epochs=1, lr=0.05)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    page.text(
        f"The small one ({parameters:,} parameters) on {len(data[0]):,} images of CIFAR-10, "
        "mirrored at random:"
    )
    page.table(
        ("epoch", "training loss", "training accuracy", "test loss", "test accuracy"),
        [(row.epoch, row.loss, row.accuracy, row.test_loss, row.test_accuracy) for row in history],
    )
    accuracy = history[-1].test_accuracy
    page.check("test accuracy above 60 % after one epoch", accuracy > 0.60, f"{accuracy:.2%}")
