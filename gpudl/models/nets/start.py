"""Initial weights that several models share."""

from __future__ import annotations

from collections.abc import Callable

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.nn import init

Kinds = type[nn.Module] | tuple[type[nn.Module], ...]


def he(weight: Tensor) -> Tensor:
    """Normal with variance 2 / fan_in, which preserves a signal's variance through ReLUs: He et
    al., Delving Deep into Rectifiers (2015), equation 10."""
    return init.kaiming_normal_(weight, nonlinearity="relu")


def he_of_outputs(weight: Tensor) -> Tensor:
    """Normal with variance 2 / fan_out, which preserves a gradient's variance: equation 14."""
    return init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu")


def small(weight: Tensor) -> Tensor:
    """Normal with standard deviation 0.01: Krizhevsky et al. (2012), section 5."""
    return init.normal_(weight, 0.0, 0.01)


def start(
    net: nn.Module,
    weights: Callable[[Tensor], Tensor],
    kinds: Kinds = (nn.Conv2d, nn.Linear),
    biases: bool = True,
) -> None:
    """Initialise the weights of all layers of these kinds, in order. biases: set them to 0."""
    for layer in net.modules():
        if isinstance(layer, kinds):
            weights(layer.weight)
            if biases and layer.bias is not None:
                init.zeros_(layer.bias)
