"""GoogLeNet: the published sizes, the savings of 1x1 filters, and a small net on CIFAR-10."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import gpudl
from gpudl import models
from gpudl.autograd.tensor import Tensor
from gpudl.data import info
from gpudl.data.transforms import resize
from gpudl.models.nets.googlenet import SOURCE, WIDTHS, GoogLeNetOutputs, Inception, Widths
from gpudl.nn import functional as F
from gpudl.optim import SGD
from gpudl.train.objective import AUXILIARY
from gpudl.zoo.cifar import standardized, train
from gpudl.zoo.page import Array, Page, page
from gpudl.zoo.recipes import recipe_table

PUBLISHED = {
    ("googlenet_paper", False): 6_998_552,
    ("googlenet_paper", True): 13_378_280,
    ("googlenet", False): 6_624_904,
    ("googlenet", True): 13_004_888,
}
CLASSES, HEAD_WEIGHT = 1000, AUXILIARY
BRANCHES = ("1x1", "3x3", "5x5", "pooling")
SHOWN, IMAGE = 8, 4  # maps of each branch, of one test image


@page("GoogLeNet", minutes=4)
def googlenet(page: Page) -> None:
    """An Inception module applies 1x1, 3x3 and 5x5 filters and pooling to its input in parallel and
    concatenates the results. 1x1 filters before the large ones keep it cheap, and two auxiliary
    heads help the lower layers to learn (Szegedy et al., CVPR 2015)."""
    sizes(page)
    modules(page)
    data = page.cifar10(train=page.pick(10_000, 128), test=page.pick(2_000, 64))
    shapes(page, data[0][:2], data[1][:2])
    net = models.create("googlenet_small")
    history = train(page, net, standardized(data), epochs=2, lr=0.05)
    parameters = sum(parameter.numel() for parameter in net.parameters())
    page.text(
        f"A small GoogLeNet ({parameters:,} parameters: modules 3a, 3b, 4a, 4e and 5b, each with a "
        f"quarter of the filters) on {len(data[0]):,} images of CIFAR-10, mirrored at random:"
    )
    page.table(
        ("epoch", "training loss", "training accuracy", "test loss", "test accuracy"),
        [(row.epoch, row.loss, row.accuracy, row.test_loss, row.test_accuracy) for row in history],
    )
    accuracy = history[-1].test_accuracy
    page.check("test accuracy above 50 % after two epochs", accuracy > 0.5, f"{accuracy:.2%}")
    name = info("cifar-10").classes[data[3][IMAGE]]
    branches(page, net, standardized(data)[2][IMAGE : IMAGE + 1], name)
    recipe_table(page, "googlenet-small-cifar10")


def sizes(page: Page) -> None:
    rows = []
    for (name, heads), wanted in PUBLISHED.items():
        found = models.info(name).summary(aux_logits=heads)
        kind = "as published" if name == "googlenet_paper" else "with batch norm, as in torchvision"
        text = f"{kind}, {'two heads' if heads else 'no heads'}"
        rows.append((text, found.parameters, found.multiply_adds / 1e9))
        page.check(
            f"{text}: {wanted:,} parameters", found.parameters == wanted, f"{found.parameters:,}"
        )
        if (name, heads) == ("googlenet_paper", False):
            adds = found.multiply_adds / 1e9
            page.beside("10⁹ multiply-adds per image", 1.5, adds, f"{SOURCE}, section 1")
    page.table(("net", "parameters", "10⁹ multiply-adds per image"), rows)


def modules(page: Page) -> None:
    """The weights of each module with and without the 1x1 filters before the others."""
    rows: list[Any] = []
    inputs = 192
    for name, w in WIDTHS.items():
        cheap = sum(weights(inputs, w))
        naive = inputs * (w.ones + 9 * w.threes + 25 * w.fives + w.pool)
        rows.append((name, inputs, w.total, cheap, naive, naive / cheap))
        inputs = w.total
    page.table(
        ("module", "channels in", "out", "weights", "without reduction", "ratio"),
        rows,
        caption="The nine Inception modules of the paper. Without reduction the 3x3 and 5x5 "
        "filters see all channels of the input.",
    )
    shares(page)


def weights(inputs: int, w: Widths) -> tuple[int, int, int, int]:
    """Weights of a module's four branches, including the 1x1 filters before or after each."""
    threes = w.reduce3 * (inputs + 9 * w.threes)
    fives = w.reduce5 * (inputs + 25 * w.fives)
    return inputs * w.ones, threes, fives, inputs * w.pool


def shares(page: Page) -> None:
    """Each branch's share of the weights and of the output maps."""
    inputs = (192, *(w.total for w in WIDTHS.values()))
    cost = np.array([weights(n, w) for n, w in zip(inputs, WIDTHS.values(), strict=False)], float)
    given = np.array([(w.ones, w.threes, w.fives, w.pool) for w in WIDTHS.values()], float)
    caption = (
        "Each branch's share of a module's weights (left, including the 1x1 filters before the "
        "branch) and of its output maps (right)."
    )
    with page.axes("branches", caption, 1, 2, size=(9, 2.8)) as axes:
        for panel, parts, name in zip(axes, (cost, given), ("weights", "maps"), strict=True):
            parts = 100 * parts / parts.sum(1, keepdims=True)
            for branch, start, part in zip(
                BRANCHES, np.cumsum(parts, 1).T - parts.T, parts.T, strict=True
            ):
                panel.bar(list(WIDTHS), part, bottom=start, label=branch)
            panel.set(xlabel="module", ylabel=f"% of its {name}")
            panel.grid(False)
        axes[1].legend(loc="upper left", bbox_to_anchor=(1, 1))


def branches(page: Page, net: Any, image: Array, name: str) -> None:
    """Output maps of the first module's branches for an image."""
    first = next(i for i, layer in enumerate(net.features) if isinstance(layer, Inception))
    with gpudl.no_grad():
        seen = net.eval().features[:first](gpudl.tensor(image, device=page.device))
        module = net.features[first]
        ways = (module.branch1, module.branch2, module.branch3, module.branch4)
        maps = [way(seen).to("cpu").numpy()[0] for way in ways]
    rows = [one[np.argsort(-one.mean((1, 2)), kind="stable")[:SHOWN]] for one in maps]
    page.image(
        "maps",
        page.grid(np.concatenate(rows), SHOWN, 3),
        f"The first module's output for a test image ({name}): the {SHOWN} maps of each branch "
        f"with the largest means. Rows from the top: {', '.join(BRANCHES)} (the third has 3x3 "
        "filters in this net, as in torchvision).",
    )


def shapes(page: Page, images: Array, labels: Array) -> None:
    """Both nets on two 224x224 photos: output shapes, and one step of gradient descent."""
    images = resize(images, page.pick(224, 64))
    rows = []
    for name in page.pick(("googlenet", "googlenet_paper"), ("googlenet",)):
        net = models.create(name, dropout=0.0, dropout_aux=0.0).to(page.device)
        optimizer = SGD(net.parameters(), lr=0.003)
        before, outputs = loss_of(page, net, images, labels)
        before.backward()
        optimizer.step()
        after, _ = loss_of(page, net, images, labels)
        rows.append((name, str(tuple(outputs.logits.shape)), before.item(), after.item()))
        page.check(
            f"{name}: the logits of the net and both heads are finite",
            all(
                one.shape == (2, CLASSES) and np.isfinite(one.detach().to("cpu").numpy()).all()
                for one in outputs
            ),
            " ".join(str(tuple(one.shape)) for one in outputs),
        )
        page.check(
            f"{name}: a step of gradient descent lowers the loss",
            after.item() < before.item(),
            f"{before.item():.3f} to {after.item():.3f}",
        )
    guess = (1 + 2 * HEAD_WEIGHT) * math.log(CLASSES)
    page.text(
        f"The loss of the net plus {HEAD_WEIGHT} times that of each head. Guessing costs "
        f"{1 + 2 * HEAD_WEIGHT:.1f} ln {CLASSES:,} = {guess:.2f}:"
    )
    page.table(("net", "logits", "loss before training", "after one step"), rows)


def loss_of(page: Page, net: Any, images: Array, labels: Array) -> tuple[Tensor, GoogLeNetOutputs]:
    """The training loss, including the heads, in training mode."""
    outputs: GoogLeNetOutputs = net.train()(Tensor(images, device=page.device))
    wanted = Tensor(labels, device=page.device)
    main, *heads = (F.cross_entropy(one, wanted) for one in outputs)
    return main + HEAD_WEIGHT * (heads[0] + heads[1]), outputs
