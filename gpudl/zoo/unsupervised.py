"""Shared by the pages on unsupervised models: batches, training on the model's own loss, and
principal components as a baseline for codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import gpudl
from gpudl import optim
from gpudl.autograd.tensor import Tensor
from gpudl.data import ArrayDataset, Loader
from gpudl.zoo.page import QUICK_STEPS, Array, Page


def batches(
    page: Page, images: Array, labels: Array, batch_size: int, epochs: int
) -> Iterator[tuple[float, Tensor, Tensor]]:
    """(fraction of steps done, images, labels), reshuffled each epoch by the page's seed;
    QUICK_STEPS batches in a quick run. An incomplete last batch is dropped.
    """
    loader = Loader(
        ArrayDataset(images, labels), batch_size, shuffle=True, drop_last=True, seed=page.seed,
        device=page.device,
    )  # fmt: skip
    steps = QUICK_STEPS if page.quick else epochs * len(loader)
    step = 0
    while True:
        for x, y in loader:
            if step == steps:
                return
            yield step / steps, x, y
            step += 1


def train(
    page: Page,
    model: Any,
    images: Array,
    *,
    epochs: int,
    lr: float = 1e-3,
    batch_size: int = 128,
    loss: Callable[[Tensor], Tensor] | None = None,
) -> list[float]:
    """Adam on model.loss(images), with a learning rate that decays linearly to 0. Returns the mean
    loss of each full epoch."""
    labels = np.zeros(len(images), np.int64)
    optimizer = optim.Adam(model.parameters(), lr=lr)
    model.train()
    means: list[float] = []
    losses: list[Tensor] = []  # of one epoch; read only at its end, because reading waits for a GPU
    for done, x, _ in batches(page, images, labels, batch_size, epochs):
        optimizer.param_groups[0]["lr"] = lr * (1 - done)
        optimizer.zero_grad()
        value = (loss or model.loss)(x)
        value.backward()
        optimizer.step()
        losses.append(value.detach())
        if len(losses) == len(images) // batch_size:
            means.append(gpudl.stack(losses).mean().item())
            losses.clear()
    model.eval()
    return means


@gpudl.no_grad()
def mapped(page: Page, function: Any, values: Array, batch_size: int = 500) -> Array:
    """function(Tensor) applied to all rows, batch by batch, as one NumPy array."""
    parts = (values[i : i + batch_size] for i in range(0, len(values), batch_size))
    found = [function(gpudl.tensor(part, device=page.device)).cpu().numpy() for part in parts]
    return np.concatenate(found)


class Principal:
    """Principal components: the best linear code of a given width, and its decoder."""

    def __init__(self, x: Array, width: int) -> None:
        self.mean = x.mean(0)
        centred = x - self.mean
        self.axes: Array = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :width]

    def encode(self, x: Array) -> Array:
        return (x - self.mean) @ self.axes  # type: ignore[no-any-return]

    def decode(self, code: Array) -> Array:
        return code @ self.axes.T + self.mean  # type: ignore[no-any-return]
