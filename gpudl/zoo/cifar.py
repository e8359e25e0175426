"""How pages train small nets on CIFAR-10."""

from __future__ import annotations

from typing import Any

from gpudl.data import transforms
from gpudl.optim import SGD
from gpudl.train import recipe
from gpudl.zoo.page import Array, Arrays, Page


def standardized(data: Arrays) -> Arrays:
    """Images with mean 0 and standard deviation 1 in each channel of the training set."""
    x_train, y_train, x_test, y_test = data
    mean, std = x_train.mean((0, 2, 3)), x_train.std((0, 2, 3))

    def apply(images: Array) -> Array:
        return transforms.normalize(images, mean.tolist(), std.tolist())

    return apply(x_train), y_train, apply(x_test), y_test


def train(page: Page, net: Any, data: Arrays, epochs: int, lr: float = 0.03) -> list[Any]:
    """As small nets are trained for few epochs on these pages: by SGD with momentum, the learning
    rate rising, then falling along a cosine; images mirrored at random. (Moving them as well pays
    only where a net sees them more often.)"""
    net.to(page.device)
    return page.fit(
        net,
        data[:2],
        data[2:],
        epochs=epochs,
        batch_size=64,
        optimizer=SGD(net.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4),
        transform=transforms.RandomHorizontalFlip(),
        schedule=recipe.WarmCosine,
    )
