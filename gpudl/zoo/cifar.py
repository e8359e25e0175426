"""Training of small nets on CIFAR-10 for the pages."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpudl
from gpudl.data import transforms
from gpudl.ops.activation.softmax import softmax
from gpudl.optim import SGD
from gpudl.train import build as recipe
from gpudl.zoo.page import Array, Arrays, Page


def standardized(data: Arrays) -> Arrays:
    """Images with mean 0 and standard deviation 1 in each channel of the training set."""
    x_train, y_train, x_test, y_test = data
    mean, std = x_train.mean((0, 2, 3)), x_train.std((0, 2, 3))

    def apply(images: Array) -> Array:
        return transforms.normalize(images, mean.tolist(), std.tolist())

    return apply(x_train), y_train, apply(x_test), y_test


def train(
    page: Page, net: Any, data: Arrays, epochs: int, lr: float = 0.03, judge: bool = True
) -> list[Any]:
    """Train a small net for a few epochs: SGD with momentum, linear warm-up and cosine decay,
    random mirroring. (Random shifts help only in longer runs.) judge: evaluate on the test images
    after each epoch."""
    net.to(page.device)
    return page.fit(
        net,
        data[:2],
        data[2:] if judge else None,
        epochs=epochs,
        batch_size=64,
        optimizer=SGD(net.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4),
        transform=transforms.RandomHorizontalFlip(),
        schedule=recipe.WarmCosine,
    )


@gpudl.no_grad()
def probabilities(net: Any, images: Array, device: str) -> Array:
    """The net's class probabilities (N, classes) for images (N, C, H, W)."""
    logits = net.eval()(gpudl.tensor(np.ascontiguousarray(images), device=device))
    return softmax(logits, 1).to("cpu").numpy()


def accuracies(net: Any, images: Array, labels: Array, device: str) -> tuple[float, float]:
    """Accuracies on the images alone, and with predictions averaged over image and mirror image."""
    plain = both = 0
    for start in range(0, len(images), 250):
        batch, right = images[start : start + 250], labels[start : start + 250]
        views = [probabilities(net, view, device) for view in (batch, batch[..., ::-1])]
        plain += int((views[0].argmax(1) == right).sum())
        both += int(((views[0] + views[1]).argmax(1) == right).sum())
    return plain / len(images), both / len(images)
