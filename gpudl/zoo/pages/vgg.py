"""VGG: the published sizes, and a small net on CIFAR-10."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpudl
from gpudl import models, nn
from gpudl.models.nets.vgg import DEPTHS
from gpudl.zoo.cifar import standardized, train
from gpudl.zoo.page import Array, Page, page

PUBLISHED = {11: 132_863_336, 13: 133_047_848, 16: 138_357_544, 19: 143_667_240}
MILLIONS = {11: 133, 13: 133, 16: 138, 19: 144}  # table 2 of the paper
SEEN = (5, 14, 30)  # side of the central units' receptive fields; the last is cut at the border
SHOWN, IMAGE = 16, 1  # maps shown per block, and the test image


@page("VGG", minutes=3)
def vgg(page: Page) -> None:
    """VGG uses only 3x3 convolutions, two to four between pooling layers: two cover 5x5 pixels,
    three cover 7x7, with fewer weights and more nonlinearities than one large filter (Simonyan and
    Zisserman, ICLR 2015). The small net on this page has three blocks of two, with batch
    normalisation."""
    sizes(page)
    data = standardized(page.cifar10())
    net = models.create("vgg_small")
    history = train(page, net, data, epochs=1, lr=0.05)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    page.text(
        f"The small net ({parameters:,} parameters) on {len(data[0]):,} images of CIFAR-10, "
        "mirrored at random:"
    )
    page.table(
        ("epoch", "training loss", "training accuracy", "test loss", "test accuracy"),
        [(row.epoch, row.loss, row.accuracy, row.test_loss, row.test_accuracy) for row in history],
    )
    accuracy = history[-1].test_accuracy
    page.check("test accuracy above 60 % after one epoch", accuracy > 0.60, f"{accuracy:.2%}")
    blocks(page, net, data[2][IMAGE : IMAGE + 1])


def sizes(page: Page) -> None:
    """The sizes of the published nets."""
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
        what = f"VGG-{depth}, millions of parameters"
        page.beside(what, MILLIONS[depth], found.parameters / 1e6, "Simonyan 2015, table 2")
    head = ("net", "parameters", "with batch norm", "10⁹ multiply-adds per image")
    page.table(head, rows, caption="The nets of the paper, for images of 224x224.")


def blocks(page: Page, net: Any, image: Array) -> None:
    """With depth, receptive fields grow and maps shrink."""
    net.eval()
    pixels = (image[0] - image.min()) / (image.max() - image.min())
    ends = [i for i, layer in enumerate(net.features) if isinstance(layer, nn.MaxPool2d)]
    caption = (
        f"An image and, for each block, the {SHOWN} maps before pooling with the largest means. "
        "Framed: the receptive field of a central unit."
    )
    seen = []
    with page.axes("blocks", caption, 1, 4, size=(9, 2.6)) as axes:
        axes[0].imshow(pixels.transpose(1, 2, 0))
        for panel, end, color in zip(axes[1:], ends, ("white", "yellow", "red"), strict=True):
            maps, box = middle_unit(page, net.features[:end], image)
            most = np.argsort(-maps.mean((1, 2)), kind="stable")[:SHOWN]
            panel.imshow(page.grid(maps[most], 4), cmap="gray")
            panel.set_title(f"{len(maps)} maps of {maps.shape[1]}x{maps.shape[2]}")
            (top, bottom), (left, right) = box
            frame = np.array([(left, top), (right, top), (right, bottom), (left, bottom)]) - 0.5
            axes[0].plot(*frame[[0, 1, 2, 3, 0]].T, color=color, clip_on=False)
            seen.append(max(bottom - top, right - left))
        for panel in axes:
            panel.axis("off")
    text = ", ".join(f"{side}x{side}" for side in seen)
    page.check(
        "the receptive fields of the three blocks are 5x5, 14x14 and, cut at the border, 30x30",
        seen == [*SEEN],
        text,
    )


def middle_unit(page: Page, layers: Any, image: Array) -> tuple[Array, Array]:
    """The maps (C, H, W) of the layers, and the bounds (exclusive ends) of the rows and columns
    that influence the central units: those with a nonzero gradient."""
    x = gpudl.tensor(image, device=page.device, requires_grad=True)
    maps = layers(x)
    row, column = (size // 2 for size in maps.shape[2:])
    maps[:, :, row, column].sum().backward()
    assert x.grad is not None
    reached = x.grad.to("cpu").numpy()[0].any(0)
    box = [np.nonzero(reached.any(axis))[0][[0, -1]] + [0, 1] for axis in (1, 0)]
    return maps.detach().to("cpu").numpy()[0], np.array(box)
