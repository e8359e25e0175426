"""Multi-layer perceptrons."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from inspect import signature

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.models.registry import register
from gpudl.nn import activation as layers


def _without_options() -> Iterator[type[layers.Activation]]:
    for name, kind in vars(layers).items():
        if name in layers.__all__ and "dim" not in kind.options:
            arguments = signature(kind).parameters.values()
            if all(argument.default is not argument.empty for argument in arguments):
                yield kind


# Every activation of gpudl.nn that works element by element and needs no options.
ACTIVATIONS = {kind.__name__.lower(): kind for kind in _without_options()}


class MLP(nn.Module):
    """(N, *input_shape) -> (N, num_classes) logits. hidden: widths of the hidden layers, each
    followed by an activation of `ACTIVATIONS` and, if dropout > 0, by dropout."""

    def __init__(
        self,
        input_shape: Sequence[int],
        hidden: Sequence[int],
        num_classes: int,
        dropout: float = 0.0,
        activation: str = "relu",
    ) -> None:
        super().__init__()
        kind = ACTIVATIONS.get(activation.lower())
        if kind is None:
            raise ValueError(
                f"MLP: activation is {activation!r}; it must be one of {', '.join(ACTIVATIONS)}"
            )
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(input_shape)
        for units in hidden:
            layers += [nn.Linear(width, units), kind()]
            if dropout:
                layers.append(nn.Dropout(dropout))
            width = units
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(self, input: Tensor) -> Tensor:
        return self.layers(input)


@register(
    input_shape=(1, 28, 28), dataset="digits", source="Rumelhart, Hinton and Williams", year=1986
)
def mlp(
    num_classes: int = 10,
    in_channels: int = 1,
    image_size: int = 28,
    hidden: Sequence[int] = (256, 128),
    dropout: float = 0.0,
    activation: str = "relu",
) -> MLP:
    """A multi-layer perceptron with hidden layers of 256 and 128 units"""
    return MLP((in_channels, image_size, image_size), hidden, num_classes, dropout, activation)
