"""Self-organised stages of a Neocognitron and a linear classifier on their features.

Fukushima's network uses no labels; the linear layer, trained by gradient descent, shows how useful
its features are.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.neocognitron import CLayer, SLayer
from gpudl.models.nets.readout import Readout
from gpudl.models.registry import register

EXTENTS = (10, 6, 1)  # of the C-layers


class NeocognitronReader(Readout):
    """(N, 1, 16, 16), ink 1 on paper 0 -> (N, num_classes) logits, from the last C-cells.

    planes, selectivity: one entry for each of the one to three S-layers. patterns: number of
    training images for each S-layer; the layers learn in order.
    """

    def __init__(
        self,
        num_classes: int,
        planes: Sequence[int] = (24, 24),
        selectivity: Sequence[float] = (2.0, 1.5),
        patterns: int | Sequence[int] = 100,
    ) -> None:
        if not 1 <= len(planes) == len(selectivity) <= len(EXTENTS):
            raise ValueError(
                f"NeocognitronReader: planes is {tuple(planes)}, selectivity {tuple(selectivity)}; "
                "both must have the same length, one to three"
            )
        each = (patterns,) * len(planes) if isinstance(patterns, int) else tuple(patterns)
        super().__init__(sum(each))
        self.last = [
            sum(each[: i + 1]) for i in range(len(each))
        ]  # images until each stage has learned
        maps = 1
        for i, (count, r) in enumerate(zip(planes, selectivity, strict=True)):
            setattr(self, f"s{i + 1}", _s_layer(i, maps, count, r))
            setattr(self, f"c{i + 1}", CLayer(EXTENTS[i], 5 if EXTENTS[i] > 1 else 2))
            maps = count
        self.readout = nn.Linear(maps * EXTENTS[len(planes) - 1] ** 2, num_classes)

    def stages(self) -> list[tuple[SLayer, CLayer]]:
        return [(getattr(self, f"s{i}"), getattr(self, f"c{i}")) for i in self._numbers()]

    def _numbers(self) -> range:
        return range(1, len(self.last) + 1)

    def features(self, images: Tensor) -> Tensor:
        """(N, cells): the last C-layer."""
        for simple, complex_ in self.stages():
            images = complex_(simple(images))
        return images.flatten(1)

    def pictures(self) -> dict[str, Tensor]:
        """The learned features of the first S-layer, in [0, 1]."""
        weights = self.s1.excitation
        return {"features": weights / weights.amax((1, 2, 3), keepdim=True).clamp(min=1e-12)}

    def teach(self, image: Tensor, number: int) -> None:
        for (simple, complex_), last in zip(self.stages(), self.last, strict=True):
            if number < last:
                simple.learn(image)
                return
            image = complex_(simple(image))


def _s_layer(stage: int, maps: int, planes: int, selectivity: float) -> SLayer:
    """The S-layer of a stage (0 to 2), as in `Neocognitron`."""
    padding, rate, column = ((2, 1.0, 5), (1, 16.0, 5), (0, 16.0, 3))[stage]
    return SLayer(maps, planes, 5, padding, selectivity, rate, column)


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
    planes: Sequence[int] = (24, 24),
    selectivity: Sequence[float] = (2.0, 1.5),
) -> NeocognitronReader:
    """Two stages of S- and C-cells, trained without labels, and a linear classifier"""
    return NeocognitronReader(num_classes, planes, selectivity)


@register(
    input_shape=(1, 16, 16),
    dataset="usps",
    source="Fukushima",
    year=1980,
    task="own",
    training={"lr": 0.5, "schedule": "cosine"},
)
def neocognitron_1980(
    num_classes: int = 10,
    planes: Sequence[int] = (24, 40, 200),
    selectivity: Sequence[float] = (2.0, 1.5, 4.0),
    patterns: Sequence[int] = (100, 200, 1200),
) -> NeocognitronReader:
    """All three stages of the Neocognitron, the last with more planes, and a linear classifier"""
    return NeocognitronReader(num_classes, planes, selectivity, patterns)
