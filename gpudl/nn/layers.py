"""Basic layers: Identity, Flatten, Linear, Dropout."""

from __future__ import annotations

import math
from typing import Any

from gpudl.autograd.tensor import Tensor
from gpudl.nn import init
from gpudl.nn.module import Module, Parameter
from gpudl.ops.matrix.linear import linear
from gpudl.ops.random.fills import dropout
from gpudl.ops.shape.create import empty

__all__ = ["Dropout", "Flatten", "Identity", "Linear"]


class Identity(Module):
    """y = x."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Flatten(Module):
    """(N, a, b, …) -> (N, a*b*…): joins the axes from start_dim to end_dim."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Linear(Module):
    """y = x Wᵀ + b. x: (…, in_features) -> (…, out_features); weight (out_features, in_features).

    Weight and bias start uniform in ±1/√in_features, as in PyTorch.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(empty(out_features, in_features))
        self.register_parameter("bias", Parameter(empty(out_features)) if bias else None)
        self.reset_parameters()
        self.to(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        reset(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class Dropout(Module):
    """In training, zeroes each element with probability p and divides the others by 1 - p.

    Source: Srivastava et al., Dropout, JMLR 15 (2014), in its inverted form.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"Dropout: p is {p}; it must be a probability, between 0 and 1")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def reset(weight: Parameter, bias: Parameter | None) -> None:
    """Draw weight and bias uniformly from ±1/√fan_in, as PyTorch's layers do."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in = weight.numel() // weight.shape[0]
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        init.uniform_(bias, -bound, bound)
