"""Features that learn by themselves, and a linear layer that names what they see.

The features have no labels and no gradient: the first images of the training teach them. The linear
layer behind them learns by gradient descent from all that follow, and shows what they are worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.core.dtypes import int64
from gpudl.nn import functional as F
from gpudl.ops.shape.create import zeros


class Readout(nn.Module):
    """(N, …) -> (N, num_classes) logits from `features`.

    A subclass defines `features(images)`, (N, …) -> (N, width), without gradient, and
    `teach(image, number)`, which learns from one image that is the number-th of the training; it
    makes `readout`, the linear layer. patterns: so many images of the training teach.
    """

    readout: nn.Linear
    seen: Tensor

    def __init__(self, patterns: int) -> None:
        super().__init__()
        self.patterns = patterns
        self.register_buffer("seen", zeros(1, dtype=int64))

    def features(self, images: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} defines no features()")

    def teach(self, image: Tensor, number: int) -> None:
        raise TypeError(f"{type(self).__name__} defines no teach()")

    def forward(self, input: Tensor) -> Tensor:
        with no_grad():
            features = self.features(input)
        return self.readout(features)  # type: ignore[no-any-return]

    classify = forward  # for `gpudl train`

    @no_grad()
    def learn(self, images: Tensor) -> int:
        """The features learn from the images that are theirs; returns how many those were."""
        first = int(self.seen.item())
        taught = min(len(images), max(self.patterns - first, 0))
        for i in range(taught):
            self.teach(images[i : i + 1], first + i)
        self.seen.add_(taught)
        return taught

    def make_stepper(self, make_optimizer: Callable[..., Any]) -> ReadoutSteps:
        """For `gpudl train`."""
        return ReadoutSteps(self, make_optimizer)


class ReadoutSteps:
    """Steps of training: the features first, then gradient descent in the linear layer."""

    def __init__(self, model: Readout, make_optimizer: Callable[..., Any]) -> None:
        self.model = model
        optimizer = make_optimizer(model.readout.parameters())
        self.optimizers: Mapping[str, Any] = {"optimizer": optimizer}
        self.taught = False  # all features; as long as not, each step asks the device how many

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        self.taught = self.taught or not self.model.learn(images)
        if not self.taught:  # the features are not yet what they will be
            with no_grad():
                return {"loss": F.cross_entropy(self.model(images), labels)}
        optimizer = self.optimizers["optimizer"]
        optimizer.zero_grad()
        loss = F.cross_entropy(self.model(images), labels)
        loss.backward()
        optimizer.step()
        return {"loss": loss}
