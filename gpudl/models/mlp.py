"""Multi-layer perceptrons."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpudl import nn
from gpudl.models.registry import register
from gpudl.tensor import Tensor


class MLP(nn.Module):
    """(N, *input_shape) -> (N, num_classes) logits through hidden layers with ReLU, and dropout if
    asked."""

    def __init__(
        self,
        input_shape: Sequence[int],
        hidden: Sequence[int],
        num_classes: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(input_shape)
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU()]
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = units
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(self, input: Tensor) -> Tensor:
        return self.layers(input)  # type: ignore[no-any-return]


@register(
    input_shape=(1, 28, 28), dataset="digits", source="Rumelhart, Hinton and Williams", year=1986
)
def mlp(
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: int = 28,
    hidden: Sequence[int] = (256, 128),
    dropout: float = 0.0,
) -> MLP:
    """A perceptron with two hidden layers of 256 and 128 units"""
    return MLP((in_channels, image_size, image_size), hidden, num_classes, dropout)
