"""ResNet: the published sizes, its shortcuts, and the first steps of ResNet-20 on CIFAR-10."""

from __future__ import annotations

import numpy as np

from gpudl import models
from gpudl.data import transforms
from gpudl.models.resnet import LAYERS
from gpudl.optim import SGD
from gpudl.train import recipe
from gpudl.train.recipe_file import read_recipe
from gpudl.zoo.cifar import standardized
from gpudl.zoo.page import Page, page

PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 269_722,
}
CIFAR = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
RECIPE = "resnet20-cifar10"


@page("ResNet", minutes=4)
def resnet(page: Page) -> None:
    """A block of a residual net adds what it computes to what it was given. It can be the identity
    at no cost, and gradients have a way past it, so that nets of a hundred layers and more learn
    (He, Zhang, Ren and Sun, CVPR 2016)."""
    sizes(page)
    shortcuts(page)
    first_steps(page)


def sizes(page: Page) -> None:
    rows = []
    for name in (*(f"resnet{depth}" for depth in LAYERS), *CIFAR):
        found = models.info(name).summary()
        height, width = models.info(name).input_shape[1:]
        rows.append((name, f"{height}x{width}", found.parameters, found.multiply_adds / 1e9))
        if name in PUBLISHED:
            wanted = PUBLISHED[name]
            page.check(
                f"{name} has {wanted:,} parameters",
                found.parameters == wanted,
                f"{found.parameters:,}",
            )
    page.table(
        ("net", "images", "parameters", "10⁹ multiply-adds an image"),
        rows,
        caption="The nets of the paper, for ImageNet and for CIFAR-10.",
    )


def shortcuts(page: Page) -> None:
    rows = []
    for depth in (18, 34):
        for option in "ABC":
            found = models.info(f"resnet{depth}").summary(shortcut=option)
            rows.append((f"resnet{depth}", option, found.parameters, found.multiply_adds / 1e9))
    page.text(
        "Where a stage changes the size of the images, the shortcut must change it too: option A "
        "takes every second pixel and adds channels of zeros, B projects with a 1x1 convolution, C "
        "projects in every block (section 4.1 of the paper)."
    )
    page.table(("net", "shortcuts", "parameters", "10⁹ multiply-adds an image"), rows)


def first_steps(page: Page) -> None:
    """A few steps of the recipe, as many as a processor makes in minutes."""
    told = read_recipe(RECIPE)
    data = standardized(page.cifar10(train=page.pick(5_000, 128), test=page.pick(1_000, 64)))
    net = models.create("resnet20").to(page.device)
    optimizer = SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    augment = transforms.Compose(
        [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()]
    )
    history = page.fit(
        net, data[:2], data[2:], epochs=3, batch_size=page.pick(64, 32), optimizer=optimizer,
        transform=augment, schedule=recipe.WarmCosine,
    )  # fmt: skip
    page.text(
        f"Here ResNet-20 makes {history[-1].step:,} steps, on {len(data[0]):,} images of CIFAR-10, "
        "moved by up to 4 pixels and mirrored at random; a processor can do that. The full "
        f"training is the recipe `{RECIPE}` (`gpudl train --recipe {RECIPE} --device cuda`): "
        f"{told.training['epochs']} epochs. Expected: {told.expect}. "
        f"Measured: {told.measured or 'not yet; it wants a GPU'}."
    )
    page.table(
        ("epoch", "training loss", "training accuracy", "test loss", "test accuracy"),
        [(row.epoch, row.loss, row.accuracy, row.test_loss, row.test_accuracy) for row in history],
    )
    losses = [row.loss for row in history]
    page.check(
        "the training loss of ResNet-20 falls in every epoch",
        len(losses) > 1 and bool((np.diff(losses) < 0).all()),
        " > ".join(f"{loss:.3f}" for loss in losses),
    )
    accuracy = history[-1].test_accuracy
    page.check("test accuracy above 35 % after these steps", accuracy > 0.35, f"{accuracy:.2%}")
