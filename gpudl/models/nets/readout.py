"""Unsupervised features and a linear classifier on them.

The features learn from the first training images, without labels or gradients. The linear layer
then learns from all later images by gradient descent and shows how useful the features are.
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

    A subclass creates `readout`, the linear layer, and defines `features(images)`, (N, …) ->
    (N, width), without gradient, and `teach(image, number)`, which learns from training image
    `number` (from 0). patterns: number of images that teach the features.
    """

    readout: nn.Linear
    seen: Tensor

    def __init__(self, patterns: int) -> None:
        super().__init__()
        self.patterns = patterns
        self.register_buffer("seen", zeros(1, dtype=int64))

    def features(self, images: Tensor) -> Tensor:
        raise TypeError(f"{type(self).__name__} does not define features()")

    def teach(self, image: Tensor, number: int) -> None:
        raise TypeError(f"{type(self).__name__} does not define teach()")

    def forward(self, input: Tensor) -> Tensor:
        with no_grad():
            features = self.features(input)
        return self.readout(features)

    classify = forward  # for `gpudl train`

    @no_grad()
    def learn(self, images: Tensor) -> int:
        """Teach the features until they have seen `patterns` images; returns the number used."""
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
    """Training steps: first the features, then gradient descent on the linear layer."""

    def __init__(self, model: Readout, make_optimizer: Callable[..., Any]) -> None:
        self.model = model
        optimizer = make_optimizer(model.readout.parameters())
        self.optimizers: Mapping[str, Any] = {"optimizer": optimizer}
        self.taught = False  # True once all features are; until then each step reads the device

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        self.taught = self.taught or not self.model.learn(images)
        if not self.taught:  # the features still change
            with no_grad():
                return {"loss": F.cross_entropy(self.model(images), labels)}
        optimizer = self.optimizers["optimizer"]
        optimizer.zero_grad()
        loss = F.cross_entropy(self.model(images), labels)
        loss.backward()
        optimizer.step()
        return {"loss": loss}
