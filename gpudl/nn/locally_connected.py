"""Locally connected layers, modelled on Keras."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar

from gpudl.autograd.tensor import Tensor
from gpudl.nn import init
from gpudl.nn.module import Module, Parameter
from gpudl.ops.conv.locally_connected import locally_connected1d, locally_connected2d
from gpudl.ops.pool.base import Ints, Size, each_axis
from gpudl.ops.shape.create import empty

__all__ = ["LocallyConnected1d", "LocallyConnected2d"]


class _LocallyConnected(Module):
    rank: ClassVar[int]
    function: ClassVar[Callable[..., Tensor]]
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        input_size: Size,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        name, rank = type(self).__name__, self.rank
        self.input_size, self.kernel_size, self.stride, self.padding = (
            each_axis(name, argument, value, rank)
            for argument, value in (
                ("input_size", input_size),
                ("kernel_size", kernel_size),
                ("stride", stride),
                ("padding", padding),
            )
        )
        axes = zip(self.input_size, self.kernel_size, self.stride, self.padding, strict=True)
        outputs: Ints = tuple((n + 2 * p - k) // s + 1 for n, k, s, p in axes)
        if min(outputs) < 1:
            raise ValueError(
                f"{name}: kernel_size is {kernel_size}, larger than input_size {input_size} with "
                f"padding {padding}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        shape = (*outputs, *self.kernel_size, in_channels, out_channels)
        self.weight = Parameter(empty(*shape))
        self.register_parameter("bias", Parameter(empty(*outputs, out_channels)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(math.prod(self.kernel_size) * self.in_channels)
        for parameter in (self.weight, self.bias):
            if parameter is not None:
                init.uniform_(parameter, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(input, self.weight, self.bias, self.stride, self.padding)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, input_size={self.input_size}, "
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        )


class LocallyConnected1d(_LocallyConnected):
    """A convolution with separate filters at each output position.

    (N, in_channels, W) -> (N, out_channels, Q), W = input_size. weight (Q, S, in, out), bias
    (Q, out); both start uniform in ±1/√(inputs per output).
    """

    rank = 1
    function = staticmethod(locally_connected1d)


class LocallyConnected2d(_LocallyConnected):
    """A convolution with separate filters at each output position.

    (N, in_channels, H, W) -> (N, out_channels, P, Q), (H, W) = input_size. weight (P, Q, R, S, in,
    out), bias (P, Q, out); both start uniform in ±1/√(inputs per output).
    """

    rank = 2
    function = staticmethod(locally_connected2d)
