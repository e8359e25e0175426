"""Convolution and transposed convolution layers in one, two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from gpudl.autograd.tensor import Tensor
from gpudl.nn.layers import reset
from gpudl.nn.module import Module, Parameter, kernel_order
from gpudl.ops.conv.arguments import Number, Padding, each, paddings
from gpudl.ops.conv.conv import conv1d, conv2d, conv3d
from gpudl.ops.conv.transpose import conv_transpose1d, conv_transpose2d, conv_transpose3d
from gpudl.ops.shape.create import empty
from gpudl.ops.shape.pad import pad

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Conv(Module):
    """Base of all convolution layers, with PyTorch's parameters and attributes."""

    axes: ClassVar[int]
    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Number,
        stride: Number,
        padding: Padding,
        dilation: Number,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        name, axes = type(self).__name__, self.axes
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{name}: groups={groups} must divide in_channels={in_channels} and "
                f"out_channels={out_channels}"
            )
        if padding_mode not in PADDING_MODES:
            raise ValueError(
                f"{name}: padding_mode {padding_mode!r} must be one of {PADDING_MODES}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = each(name, "kernel_size", kernel_size, axes)
        self.stride = each(name, "stride", stride, axes)
        self.padding = each(name, "padding", padding, axes) if _is_symmetric(padding) else padding
        self.dilation = each(name, "dilation", dilation, axes)
        self.groups = groups
        self.padding_mode = padding_mode
        weight = empty(*self.weight_shape(), *self.kernel_size)
        weight.array = kernel_order(weight.array, weight.device)
        self.weight = Parameter(weight)
        self.register_parameter("bias", Parameter(empty(out_channels)) if bias else None)
        self.reset_parameters()
        self.to(device=device, dtype=dtype)

    def weight_shape(self) -> tuple[int, int]:
        """(filters, channels per filter)."""
        return self.out_channels, self.in_channels // self.groups

    def reset_parameters(self) -> None:
        reset(self.weight, self.bias)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        text += f", stride={self.stride}"
        none, one = (0,) * self.axes, (1,) * self.axes
        defaults = {"padding": none, "dilation": one, "output_padding": none, "groups": 1}
        for name, value in defaults.items():
            if getattr(self, name, value) != value:
                text += f", {name}={getattr(self, name)}"
        text += "" if self.bias is not None else ", bias=False"
        return text + (f", padding_mode={self.padding_mode}" * (self.padding_mode != "zeros"))


def _is_symmetric(padding: Padding) -> bool:
    """True for an int or one int per axis; False for a name or pairs (before, after)."""
    return isinstance(padding, int) or (
        not isinstance(padding, str) and all(isinstance(p, int) for p in padding)
    )


class _Convolution(_Conv):
    convolve: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Number,
        stride: Number = 1,
        padding: Padding = 0,
        dilation: Number = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip
        name, axes = type(self).__name__, self.axes
        before, extra = paddings(
            name, self.padding, axes, self.kernel_size, self.stride, self.dilation
        )
        border = [n for b, e in zip(before[::-1], extra[::-1], strict=True) for n in (b, b + e)]
        self._border = border if padding_mode != "zeros" and any(border) else []

    def forward(self, input: Tensor) -> Tensor:
        padding: Padding = self.padding
        if self._border:
            input, padding = pad(input, self._border, self.padding_mode), 0
        return type(self).convolve(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )


class Conv1d(_Convolution):
    """Cross-correlation of sequences with learned filters, as in PyTorch; see Conv2d.

    x: (N, in_channels, W) or (in_channels, W) -> (N, out_channels, Q) or (out_channels, Q); weight
    (out_channels, in_channels/groups, S).
    """

    axes = 1
    convolve = staticmethod(conv1d)


class Conv2d(_Convolution):
    """Cross-correlation of images with learned filters, as in PyTorch.

    x: (N, in_channels, H, W) or without N -> (N, out_channels, P, Q) or without N, with P = (H +
    2*padding - dilation*(R-1) - 1) // stride + 1 for a filter (R, S); weight (out_channels,
    in_channels/groups, R, S). padding may also be "same", "valid" or one pair (before, after) per
    axis; padding_mode fills it: "zeros", "reflect", "replicate" or "circular". Weight and bias
    start uniform in ±1/√(in_channels/groups · R · S).
    """

    axes = 2
    convolve = staticmethod(conv2d)


class Conv3d(_Convolution):
    """Cross-correlation of volumes with learned filters, as in PyTorch; see Conv2d.

    x: (N, in_channels, D, H, W) or without N -> (N, out_channels, O, P, Q) or without N; weight
    (out_channels, in_channels/groups, T, R, S).
    """

    axes = 3
    convolve = staticmethod(conv3d)


class _TransposedConvolution(_Conv):
    convolve: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Number,
        stride: Number = 1,
        padding: Padding = 0,
        output_padding: Number = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Number = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        name = type(self).__name__
        if padding_mode != "zeros":
            raise ValueError(f'{name}: padding_mode is {padding_mode!r}; it must be "zeros"')
        if isinstance(padding, str):
            raise ValueError(f"{name}: padding is {padding!r}; it must be one int, or one per axis")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip
        self.output_padding = each(name, "output_padding", output_padding, self.axes)

    def weight_shape(self) -> tuple[int, int]:
        return self.in_channels, self.out_channels // self.groups

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """output_size: the output's spatial extents or whole shape; it selects one of the sizes
        that the stride allows."""
        extra = self.output_padding
        if output_size is not None:
            extra = self._output_padding(input.shape[-self.axes :], tuple(output_size))
        return type(self).convolve(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups,
            self.dilation,
        )  # fmt: skip

    def _output_padding(
        self, input: tuple[int, ...], output_size: tuple[int, ...]
    ) -> tuple[int, ...]:
        before, extra = paddings(
            type(self).__name__,
            self.padding,
            self.axes,
            self.kernel_size,
            self.stride,
            self.dilation,
        )
        smallest = tuple(
            (p - 1) * s - 2 * b - e + d * (taps - 1) + 1
            for p, s, b, e, d, taps in zip(
                input, self.stride, before, extra, self.dilation, self.kernel_size, strict=True
            )
        )
        spatial = output_size[-self.axes :]
        output_padding = tuple(w - n for w, n in zip(spatial, smallest, strict=True))
        if any(not 0 <= p < s for p, s in zip(output_padding, self.stride, strict=True)):
            largest = tuple(n + s - 1 for n, s in zip(smallest, self.stride, strict=True))
            raise ValueError(
                f"{type(self).__name__}: output_size is {output_size}; for an input of "
                f"{tuple(input)} it must be from {smallest} to {largest}"
            )
        return output_padding


class ConvTranspose1d(_TransposedConvolution):
    """Transposed convolution of sequences, as in PyTorch; see ConvTranspose2d.

    x: (N, in_channels, Q) or without N -> (N, out_channels, W) or without N; weight (in_channels,
    out_channels/groups, S).
    """

    axes = 1
    convolve = staticmethod(conv_transpose1d)


class ConvTranspose2d(_TransposedConvolution):
    """Transposed convolution of images, as in PyTorch: each input element adds a scaled filter.

    x: (N, in_channels, P, Q) or without N -> (N, out_channels, H, W) or without N, with H = (P -
    1)*stride - 2*padding + dilation*(R-1) + output_padding + 1 for a filter (R, S); weight
    (in_channels, out_channels/groups, R, S). Weight and bias start uniform in
    ±1/√(out_channels/groups · R · S).
    """

    axes = 2
    convolve = staticmethod(conv_transpose2d)


class ConvTranspose3d(_TransposedConvolution):
    """Transposed convolution of volumes, as in PyTorch; see ConvTranspose2d.

    x: (N, in_channels, O, P, Q) or without N -> (N, out_channels, D, H, W) or without N; weight
    (in_channels, out_channels/groups, T, R, S).
    """

    axes = 3
    convolve = staticmethod(conv_transpose3d)
