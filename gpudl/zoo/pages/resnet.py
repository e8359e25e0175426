"""ResNet: the published sizes, shortcuts, and the first steps of ResNet-20 on CIFAR-10."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpudl
from gpudl import models, nn
from gpudl.data import transforms
from gpudl.nn import functional as F
from gpudl.optim import SGD
from gpudl.train import build as recipe
from gpudl.zoo.cifar import standardized
from gpudl.zoo.page import Arrays, Page, page
from gpudl.zoo.recipes import recipe_table

PUBLISHED = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 269_722,
}
IMAGENET = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
CIFAR = ("resnet20", "resnet32", "resnet44", "resnet56", "resnet110")
RECIPES = ("resnet20-cifar10", "resnet56-cifar10", "resnet110-cifar10")
DEEP, BATCH = (20, 56, 110), 32  # layers and images for the comparison of plain and residual nets


@page("ResNet", minutes=4)
def resnet(page: Page) -> None:
    """A residual block adds its output to its input, so it can represent the identity at no cost.
    He, Zhang, Ren and Sun (Deep Residual Learning, 2015; CVPR 2016) saw deeper plain nets reach a
    higher training error than shallower ones, and that shortcuts remove this; they did not put it
    down to vanishing gradients, because their plain nets used batch norm. That gradients pass
    through the shortcuts unchanged is the argument of their second paper (Identity Mappings in
    Deep Residual Networks, ECCV 2016). The training below is too short to show either; it
    compares no plain net."""
    sizes(page)
    shortcuts(page)
    data = standardized(page.cifar10(train=page.pick(5_000, 128), test=page.pick(1_000, 64)))
    first_steps(page, data)
    recipe_table(page, *RECIPES)
    gradients(page, data)


def sizes(page: Page) -> None:
    rows = []
    for name in (*IMAGENET, *CIFAR):
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
        ("net", "images", "parameters", "10⁹ multiply-adds per image"),
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
        "Where a stage changes the shape, the shortcut must change it too: option A takes every "
        "second pixel and adds zero channels, B projects with a 1x1 convolution, C projects in "
        "every block (section 4.1 of the paper)."
    )
    page.table(("net", "shortcuts", "parameters", "10⁹ multiply-adds per image"), rows)


def first_steps(page: Page, data: Arrays) -> None:
    """As many steps of the recipe as a CPU can do in minutes."""
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
        f"Here ResNet-20 takes {history[-1].step:,} steps on {len(data[0]):,} images of CIFAR-10, "
        "shifted by up to 4 pixels and mirrored at random, which a CPU can do. Full training runs "
        "need a GPU."
    )
    page.table(
        ("epoch", "training loss", "training accuracy", "test loss", "test accuracy"),
        [(row.epoch, row.loss, row.accuracy, row.test_loss, row.test_accuracy) for row in history],
    )
    paper = models.info("resnet20").summary().parameters / 1e6
    page.beside("ResNet-20, millions of parameters", 0.27, paper, "He et al. 2016, table 6")
    reached = 100 * history[-1].test_accuracy
    what = f"ResNet-20, test accuracy in % (ours after {history[-1].step:,} steps of 64,000)"
    page.beside(what, 91.25, reached, "He et al. 2016, table 6")
    losses = [row.loss for row in history]
    page.check(
        "the training loss of ResNet-20 falls in every epoch",
        len(losses) > 1 and bool((np.diff(losses) < 0).all()),
        " > ".join(f"{loss:.3f}" for loss in losses),
    )
    accuracy = history[-1].test_accuracy
    page.check("test accuracy above 35 % after these steps", accuracy > 0.35, f"{accuracy:.2%}")


def gradients(page: Page, data: Arrays) -> None:
    """Gradient norms by layer, with and without shortcuts."""
    caption = (
        "Gradient norm of each convolution's weights before the first step, in nets of "
        f"{', '.join(map(str, DEEP))} layers, without shortcuts (left) and with them (right)."
    )
    page.text("In deep nets the benefit of shortcuts is visible even before training:")
    grows: dict[str, float] = {}
    with page.axes("gradients", caption, 1, 2, size=(9, 3)) as axes:
        for panel, kind in zip(axes, ("plain", "residual"), strict=True):
            for depth in page.pick(DEEP, DEEP[:1]):
                norms = first_gradient(page, data, depth, kind == "plain")
                panel.semilogy(range(1, len(norms) + 1), norms, label=f"{depth} layers")
                grows[kind] = norms[0] / norms[-1]
            panel.set(title=kind, xlabel="convolution", ylim=(0.1, 3e7))
        axes[0].set_ylabel("gradient norm")
        axes[0].legend()
    page.check(
        f"through {DEEP[-1]} layers the gradient grows a hundred times more without shortcuts",
        grows["plain"] > 100 * grows["residual"],
        f"{grows['plain']:,.0f} times without shortcuts, {grows['residual']:.1f} times with them",
    )


def first_gradient(page: Page, data: Arrays, depth: int, plain: bool) -> list[float]:
    """The norms of the weight gradients, from the first convolution to the last."""
    gpudl.manual_seed(page.seed)
    net: Any = models.create(f"resnet{depth}", plain=plain).to(page.device)
    images, labels = (gpudl.tensor(one[:BATCH], device=page.device) for one in data[:2])
    F.cross_entropy(net(images), labels).backward()
    found = [layer.weight.grad for layer in net.modules() if isinstance(layer, nn.Conv2d)]
    return [float(np.linalg.norm(one.to("cpu").numpy())) for one in found if one is not None]
