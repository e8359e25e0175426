"""Initialisation of parameters. Every function fills the tensor in place, drawing from `generator`
(if None, the default one), and returns it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core import random
from gpudl.core.op import Array
from gpudl.core.random import Generator


def _fill(tensor: Tensor, make: Callable[[], Array]) -> Tensor:
    """Set the tensor to the values of make(); on the meta device it has none."""
    if tensor.device.name == "meta":
        return tensor
    tensor.array[...] = tensor.device.asarray(np.asarray(make()).astype(tensor.dtype))
    tensor._cell[0] += 1
    return tensor


def _draw(tensor: Tensor, kind: str, generator: Generator | None) -> Any:
    count = tensor.numel()
    counter = (generator or random.default_generator()).take(count)
    draw = random.uniform if kind == "uniform" else random.normal
    return draw(counter, count).reshape(tensor.shape)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with val."""
    return _fill(tensor, lambda: np.full(tensor.shape, val))


def zeros_(tensor: Tensor) -> Tensor:
    """All elements become 0. Returns the tensor."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """All elements become 1. Returns the tensor."""
    return constant_(tensor, 1.0)


def uniform_(
    tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Uniform in [a, b)."""
    return _fill(tensor, lambda: a + (b - a) * _draw(tensor, "uniform", generator))


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Normal with mean `mean` and standard deviation `std`."""
    return _fill(tensor, lambda: mean + std * _draw(tensor, "normal", generator))


def xavier_uniform_(
    tensor: Tensor, gain: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Uniform with standard deviation gain·√(2/(fan_in+fan_out)). Source: Glorot and Bengio
    (2010), eq. 16."""
    bound = math.sqrt(3) * gain * math.sqrt(2 / sum(fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Normal with standard deviation gain·√(2/(fan_in+fan_out)). Source: Glorot and Bengio
    (2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans(tensor))), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Uniform with standard deviation gain/√fan. a: the slope of the leaky_relu that follows.

    Source: He et al., Delving Deep into Rectifiers (2015), eq. 14.
    """
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Normal with standard deviation gain/√fan. Source: He et al. (2015), eq. 14."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def lecun_uniform_(tensor: Tensor, generator: Generator | None = None) -> Tensor:
    """Uniform with standard deviation 1/√fan_in. Source: LeCun et al., Efficient BackProp (1998),
    eq. 16."""
    bound = math.sqrt(3 / fans(tensor)[0])
    return uniform_(tensor, -bound, bound, generator)


def lecun_normal_(tensor: Tensor, generator: Generator | None = None) -> Tensor:
    """Normal with standard deviation 1/√fan_in. Source: LeCun et al. (1998), eq. 16."""
    return normal_(tensor, 0.0, math.sqrt(1 / fans(tensor)[0]), generator)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Orthonormal rows (or columns, if fewer) of the tensor as a matrix (shape[0], …), times gain.

    Source: Saxe, McClelland and Ganguli (2013). Raises ValueError for fewer than 2 axes.
    """
    if tensor.ndim < 2:
        raise ValueError(f"orthogonal_: tensor has {tensor.ndim} axes; it must have at least 2")
    rows, columns = tensor.shape[0], tensor.numel() // max(1, tensor.shape[0])

    def make() -> Array:
        flat = _draw(tensor, "normal", generator).reshape(rows, columns).astype(np.float64)
        q, r = np.linalg.qr(flat if rows >= columns else flat.T)
        q = q * np.sign(np.diag(r))  # makes the distribution uniform over orthogonal matrices
        return (gain * (q if rows >= columns else q.T)).reshape(tensor.shape)

    return _fill(tensor, make)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that preserves the variance across a nonlinearity, from PyTorch's table."""
    slope = 0.01 if param is None else param
    gains = {
        "linear": 1.0,
        "conv2d": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
        "selu": 3 / 4,
    }
    if nonlinearity not in gains:
        raise ValueError(
            f"calculate_gain: nonlinearity is {nonlinearity!r}; it must be one of "
            f"{', '.join(gains)}"
        )
    return gains[nonlinearity]


def fans(tensor: Tensor) -> tuple[int, int]:
    """(fan_in, fan_out): inputs per output element, and outputs per input element."""
    if tensor.ndim < 2:
        raise ValueError(
            f"init: the tensor has {tensor.ndim} axes; fan_in and fan_out need at least 2 "
            "(use uniform_ or zeros_)"
        )
    field = tensor.numel() // max(1, tensor.shape[0] * tensor.shape[1])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"kaiming: mode is {mode!r}; it must be 'fan_in' or 'fan_out'")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)
