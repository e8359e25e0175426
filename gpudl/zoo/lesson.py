"""Shared by the lessons: small nets, and a training loop that evaluates after every epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from gpudl import nn, no_grad
from gpudl.autograd.tensor import tensor
from gpudl.ops.loss.cross_entropy import cross_entropy
from gpudl.zoo.page import Array, Page

BATCH = 50
Split = tuple[Array, Array]
Change = Callable[[Array, np.random.Generator], Array]
LOSS, ERROR = 0, 1  # columns of what `learn` returns


MEAN, DEVIATION = 0.1307, 0.3081  # of MNIST's pixels, in [0, 1]
BACKGROUND = -MEAN / DEVIATION


def standardised(images: Array) -> Array:
    """Images normalised with MNIST's mean and standard deviation."""
    return ((images - MEAN) / DEVIATION).astype(np.float32)


def perceptron(widths: Sequence[int], dropout: float = 0.0, pixels: float = 0.0) -> nn.Sequential:
    """Linear layers of these widths, from pixels to classes, with ReLU between them. dropout,
    pixels: the dropout rates of hidden units and of pixels."""
    layers: list[nn.Module] = [nn.Flatten(), *([nn.Dropout(pixels)] if pixels else [])]
    *hidden, last = pairwise(widths)
    for width, following in hidden:
        layers += [nn.Linear(width, following), nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(last[0], last[1]))


def learn(
    page: Page,
    net: nn.Module,
    train: Split,
    judged: Mapping[str, Split],
    epochs: int,
    optimizer: Any,
    change: Change | None = None,
) -> dict[str, Array]:
    """Loss and error rate on each split of `judged`, (epochs + 1, 2): before the first epoch and
    after each. The net is on the page's device. change: augments the images of a batch."""
    rng = np.random.default_rng(page.seed)
    curves = {name: [judge(page, net, split)] for name, split in judged.items()}
    for _ in range(page.pick(epochs, 1)):
        order = rng.permutation(len(train[0]))
        for start in range(0, page.pick(len(order), 2 * BATCH), BATCH):
            chosen = order[start : start + BATCH]
            images = train[0][chosen] if change is None else change(train[0][chosen], rng)
            loss = cross_entropy(net(place(page, images)), place(page, train[1][chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        for name, split in judged.items():
            curves[name].append(judge(page, net, split))
    return {name: np.array(rows) for name, rows in curves.items()}


def judge(page: Page, net: nn.Module, split: Split) -> tuple[float, float]:
    """Loss and error rate, without dropout."""
    net.eval()
    with no_grad():
        logits = net(place(page, split[0]))
        loss = cross_entropy(logits, place(page, split[1])).item()
    net.train()
    wrong = np.asarray(logits).argmax(1) != split[1]
    return float(loss), float(wrong.mean())


def place(page: Page, array: Array) -> Any:
    return tensor(array, device=page.device)


def percent(share: float) -> str:
    return f"{share:.1%}"
