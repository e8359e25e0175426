"""Two stages of a Neocognitron that teach themselves, and a linear layer that names what they see.

Fukushima's network has no labels at all; the layer of weights behind it, trained by gradient
descent, shows what its features are worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gpudl
from gpudl import nn
from gpudl.models.neocognitron import CLayer, SLayer
from gpudl.models.registry import register
from gpudl.nn import functional as F
from gpudl.tensor import Tensor


class NeocognitronReader(nn.Module):
    """(N, 1, 16, 16), ink 1 on paper 0 -> (N, num_classes) logits, from the C-cells of stage two.

    planes, selectivity: of the two S-layers. patterns: so many training images teach the first
    S-layer, as many the second, before the linear layer learns from all that follow.
    """

    seen: Tensor

    def __init__(
        self,
        num_classes: int,
        planes: tuple[int, int] = (24, 24),
        selectivity: tuple[float, float] = (2.0, 1.5),
        patterns: int = 100,
    ) -> None:
        super().__init__()
        self.patterns = patterns
        self.s1 = SLayer(1, planes[0], 5, 2, selectivity[0], rate=1.0)
        self.c1 = CLayer(10, 5)
        self.s2 = SLayer(planes[0], planes[1], 5, 1, selectivity[1], rate=16.0)
        self.c2 = CLayer(6, 5)
        self.readout = nn.Linear(planes[1] * 6 * 6, num_classes)
        self.register_buffer("seen", gpudl.zeros(1, dtype=gpudl.int64))

    def features(self, images: Tensor) -> Tensor:
        """(N, planes·36): the second C-layer. It has no gradient."""
        with gpudl.no_grad():
            return self.c2(self.s2(self.c1(self.s1(images)))).flatten(1)  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        return self.readout(self.features(input))  # type: ignore[no-any-return]

    classify = forward  # for `gpudl train`

    def learn(self, images: Tensor) -> int:
        """The S-layers learn from the images that are theirs; returns how many those were."""
        taught = 0
        with gpudl.no_grad():
            for i in range(len(images)):
                stage = (int(self.seen.item()) + i) // self.patterns
                if stage > 1:
                    break
                image = images[i : i + 1]
                if stage == 0:
                    self.s1.learn(image)
                else:
                    self.s2.learn(self.c1(self.s1(image)))
                taught += 1
            self.seen.add_(len(images))
        return taught

    def make_stepper(self, make_optimizer: Callable[..., Any]) -> ReaderSteps:
        """For `gpudl train`."""
        return ReaderSteps(self, make_optimizer)

    def judge(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The cross-entropy, and the share that is read right."""
        logits = self(images)
        right = (logits.argmax(1) == labels).to(logits.dtype).mean()
        return {"loss": F.cross_entropy(logits, labels), "accuracy": right}


class ReaderSteps:
    """Steps of training: winner-take-all first, then gradient descent in the linear layer."""

    def __init__(self, reader: NeocognitronReader, make_optimizer: Callable[..., Any]) -> None:
        self.reader = reader
        optimizer = make_optimizer(reader.readout.parameters())
        self.optimizers: Mapping[str, Any] = {"optimizer": optimizer}

    def step(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        if self.reader.learn(images):  # the features are not yet what they will be
            with gpudl.no_grad():
                return {"loss": F.cross_entropy(self.reader(images), labels)}
        optimizer = self.optimizers["optimizer"]
        optimizer.zero_grad()
        loss = F.cross_entropy(self.reader(images), labels)
        loss.backward()
        optimizer.step()
        return {"loss": loss}


@register(
    input_shape=(1, 16, 16),
    dataset="usps",
    source="Fukushima",
    year=1980,
    task="own",
    training={"lr": 0.03},
)
def neocognitron(
    num_classes: int = 10,
    planes: tuple[int, int] = (24, 24),
    selectivity: tuple[float, float] = (2.0, 1.5),
) -> NeocognitronReader:
    """Two stages of S- and C-cells that learn without labels, and a linear layer that reads them"""
    return NeocognitronReader(num_classes, planes, selectivity)
