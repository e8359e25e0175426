"""Layers: modules that own parameters or fields and call one function each."""

from __future__ import annotations

import math
from typing import Any

from gpudl.nn import init
from gpudl.nn.module import Module, Parameter
from gpudl.ops.create import empty
from gpudl.ops.linear import linear
from gpudl.ops.pool import avg_pool2d, max_pool2d
from gpudl.ops.random import dropout
from gpudl.tensor import Tensor

__all__ = ["AvgPool2d", "Dropout", "Flatten", "Identity", "Linear", "MaxPool2d"]

Size = int | tuple[int, int]


class Identity(Module):
    """y = x."""

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

    Both start uniform in ±1/√in_features, as PyTorch's do.
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(empty(out_features, in_features))
        self.register_parameter("bias", Parameter(empty(out_features)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        reset(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}"


class _Pool2d(Module):
    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, **options: Any
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.options = options

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool2d):
    """Largest value of each window. (N, C, H, W) -> (N, C, P, Q), P = (H + 2*padding - R)//stride
    + 1."""

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(
            kernel_size,
            stride,
            padding,
            dilation=dilation,
            ceil_mode=ceil_mode,
            return_indices=return_indices,
        )

    def forward(self, input: Tensor) -> Any:
        return max_pool2d(input, self.kernel_size, self.stride, self.padding, **self.options)


class AvgPool2d(_Pool2d):
    """Mean of each window. (N, C, H, W) -> (N, C, P, Q), P = (H + 2*padding - R)//stride + 1."""

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(
            kernel_size,
            stride,
            padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
        )

    def forward(self, input: Tensor) -> Tensor:
        return avg_pool2d(input, self.kernel_size, self.stride, self.padding, **self.options)


class Dropout(Module):
    """In training each element is zero with probability p, the others are divided by 1-p.

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
    """Weight and bias uniform in ±1/√(inputs of one output), as PyTorch's layers start."""
    init.kaiming_uniform_(weight, a=math.sqrt(5))
    if bias is not None:
        fan_in = weight.numel() // weight.shape[0]
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        init.uniform_(bias, -bound, bound)
