"""Networks so small that every weight can be inspected: MLPs with tanh units, inputs in [-1, 1]."""

from __future__ import annotations

from gpudl.models.nets.mlp import MLP
from gpudl.models.registry import register


@register(
    input_shape=(1, 8, 8),
    dataset="usps",
    classes=(0, 1, 4),
    source="Rumelhart, Hinton and Williams",
    year=1986,
    training={"augment": "none", "lr": 0.01},
)
def first_net(num_classes: int = 3) -> MLP:
    """64-2-3: classifies 8x8 digits through two hidden units, whose weights are two pictures"""
    return MLP((1, 8, 8), (2,), num_classes, activation="tanh")


@register(
    input_shape=(1, 16, 16),
    dataset="usps",
    classes=(1, 5),
    source="Abu-Mostafa, Magdon-Ismail and Lin",
    year=2012,
    training={"augment": "none", "lr": 0.01},
)
def one_versus_five() -> MLP:
    """256-6-2-1: distinguishes ones from fives; a score above 0 means five"""
    return MLP((1, 16, 16), (6, 2), 1, activation="tanh")
