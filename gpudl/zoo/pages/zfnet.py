"""ZFNet: its shapes, and what the units of a small one detect."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import gpudl
from gpudl import models, nn
from gpudl.models.nets.deconvolution import Deconvolution
from gpudl.nn import functional as f
from gpudl.optim import SGD
from gpudl.zoo.cifar import standardized, train
from gpudl.zoo.page import Array, Arrays, Page, page
from gpudl.zoo.recipes import recipe_table

PAPER = [(96, 110, 110), (256, 26, 26), (384, 13, 13), (384, 13, 13), (256, 13, 13)]  # figure 3
LAYERS = {"conv2": 5, "conv3": 8, "conv5": 12}  # modules of the small net's `features` up to each
CHANNELS, SHOWN = 5, 4


@page("ZFNet and what its units detect", minutes=2)
def zfnet(page: Page) -> None:
    """ZFNet improved on AlexNet by visualising its units: a deconvolution projects an activation
    back to the pixels, through the positions of the pooled maxima, rectifiers and transposed
    filters, and shows what caused it in the image (Zeiler and Fergus, ECCV 2014). The shapes of the
    paper's net are checked; the pictures are of a small net, trained briefly on CIFAR-10."""
    shapes(page)
    data = standardized(page.cifar10(train=25_000, test=2000))
    losses(page, data)
    net = models.create("zfnet_small")
    accuracy = train(page, net, data, epochs=1)[-1].test_accuracy
    page.text(f"The small net's test accuracy after one epoch is {accuracy:.2%}.")
    filters = net.features[0].weight.detach().to("cpu").numpy()
    page.image("filters", page.grid(filters, 16, 6), "The 5x5 filters of the first layer.")
    pictures(page, net, data[2])
    recipe_table(page, "zfnet-small-cifar10")


def shapes(page: Page) -> None:
    rows = []
    for name in ("zfnet", "zfnet_wide"):
        found = models.info(name).summary()
        sizes = [row.output[1:] for row in found.rows if row.kind == "Conv2d"]
        text = ", ".join("x".join(map(str, size)) for size in sizes)
        rows.append((name, found.parameters, found.multiply_adds / 1e9, text))
        if name == "zfnet":
            page.check("the convolutions have the shapes of figure 3", sizes == PAPER, text)
    head = ("net", "parameters", "10⁹ multiply-adds", "outputs of the convolutions")
    page.table(head, rows, caption="For a 3x224x224 image.")


def losses(page: Page, data: Arrays) -> None:
    """The full net on a few enlarged images: gradient steps lower its loss."""
    gpudl.manual_seed(page.seed)
    net = models.create("zfnet", hidden=page.pick(4096, 64)).to(page.device)
    count = page.pick(4, 1)
    images = gpudl.tensor(data[0][:count].repeat(7, 2).repeat(7, 3), device=page.device)
    labels = gpudl.tensor(data[1][:count], device=page.device)
    optimizer = SGD(net.parameters(), lr=0.01, momentum=0.9)
    found = []
    for _ in range(page.pick(6, 2)):
        optimizer.zero_grad()
        loss = f.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    page.check(
        f"{len(found)} steps on {count} images lower the full net's loss below that of guessing, "
        "log 1000",
        found[-1] < min(found[0], math.log(1000)),
        f"from {found[0]:.4f} to {found[-1]:.4f}; log 1000 is {math.log(1000):.4f}",
    )


def pictures(page: Page, net: nn.Module, images: Array) -> None:
    """For each layer, rows of channels: the strongest images, and the patterns that excite them."""
    net.eval()
    seen: dict[str, float] = {}
    for name, depth in LAYERS.items():
        way = Deconvolution(net.features[:depth])
        tiles: list[Any] = []
        for channel in active_channels(way, images):
            best = images[way.strongest(images, channel, SHOWN)]
            causes = way.pictures(best, channel)
            seen[name] = max(seen.get(name, 0.0), float((causes != 0).any(1).mean()))
            tiles += [*scaled(best), *scaled(causes, around=0.0)]
        page.image(
            f"units-{name}",
            page.grid(np.stack(tiles), 2 * SHOWN, 2, vmin=0, vmax=1),
            f"Units of {name}, one per row: the {SHOWN} test images that excite it most, and the "
            "responsible patterns, by deconvolution.",
        )
    areas = [seen[name] for name in LAYERS]
    text = ", ".join(f"{name} {area:.1%}" for name, area in seen.items())
    page.check("deeper units respond to larger parts of the image", areas == sorted(areas), text)


def active_channels(way: Deconvolution, images: Array) -> list[int]:
    """The channels with the largest mean activations."""
    mean = way.forward(images[:256])[0].to("cpu").numpy().mean((0, 2, 3))
    return [int(channel) for channel in np.argsort(-mean, kind="stable")[:CHANNELS]]


def scaled(images: Array, around: float | None = None) -> Array:
    """Each image stretched to [0, 1]; with `around`, this value becomes grey."""
    low, high = images.min((1, 2, 3), keepdims=True), images.max((1, 2, 3), keepdims=True)
    if around is not None:
        reach = np.maximum(high - around, around - low)
        low, high = around - reach, around + reach
    return (images - low) / np.maximum(high - low, 1e-12)  # type: ignore[no-any-return]
