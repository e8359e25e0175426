"""Pooling layers. Their functions, with output sizes, are in gpudl/ops/pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from gpudl.autograd.tensor import Tensor
from gpudl.nn.module import Module
from gpudl.ops.pool import adaptive
from gpudl.ops.pool import functions as pool
from gpudl.ops.pool.adaptive import AdaptiveSize
from gpudl.ops.pool.base import Size

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]


class _Settings(Module):
    """A layer that calls a function with its settings, which are also its attributes."""

    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def __getattr__(self, name: str) -> Any:
        settings = self.__dict__.get("settings", {})
        return settings[name] if name in settings else super().__getattr__(name)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.settings.items())


class _Pool(_Settings):
    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(input, **self.settings)


class _MaxPool(_Pool):
    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        stride = kernel_size if stride is None else stride
        super().__init__(
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            return_indices=return_indices,
            ceil_mode=ceil_mode,
        )


class MaxPool1d(_MaxPool):
    """Largest value of each window. (N, C, W) -> (N, C, Q)."""

    function = pool.max_pool1d


class MaxPool2d(_MaxPool):
    """Largest value of each window. (N, C, H, W) -> (N, C, P, Q), P = (H + 2*padding -
    dilation*(R - 1) - 1)//stride + 1; with return_indices also their flat indices in H*W."""

    function = pool.max_pool2d


class MaxPool3d(_MaxPool):
    """Largest value of each window. (N, C, D, H, W) -> (N, C, O, P, Q)."""

    function = pool.max_pool3d


class AvgPool1d(_Pool):
    """Mean of each window. (N, C, W) -> (N, C, Q)."""

    function = pool.avg_pool1d

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        stride = kernel_size if stride is None else stride
        super().__init__(
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
        )


class AvgPool2d(_Pool):
    """Mean of each window. (N, C, H, W) -> (N, C, P, Q), P = (H + 2*padding - R)//stride + 1."""

    function = pool.avg_pool2d

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        stride = kernel_size if stride is None else stride
        super().__init__(
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
        )


class AvgPool3d(AvgPool2d):
    """Mean of each window. (N, C, D, H, W) -> (N, C, O, P, Q)."""

    function = pool.avg_pool3d


class _LPPool(_Pool):
    def __init__(
        self,
        norm_type: float,
        kernel_size: Size,
        stride: Size | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(
            norm_type=norm_type, kernel_size=kernel_size, stride=stride, ceil_mode=ceil_mode
        )


class LPPool1d(_LPPool):
    """(Sum of x^norm_type over each window)^(1/norm_type). (N, C, W) -> (N, C, Q)."""

    function = pool.lp_pool1d


class LPPool2d(_LPPool):
    """(Sum of x^norm_type over each window)^(1/norm_type). (N, C, H, W) -> (N, C, P, Q)."""

    function = pool.lp_pool2d


class LPPool3d(_LPPool):
    """(Sum of x^norm_type over each window)^(1/norm_type). (N, C, D, H, W) -> (N, C, O, P, Q)."""

    function = pool.lp_pool3d


class _AdaptiveMaxPool(_Pool):
    def __init__(self, output_size: AdaptiveSize, return_indices: bool = False) -> None:
        super().__init__(output_size=output_size, return_indices=return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Largest value of each of output_size windows that cover the input. (N, C, W) -> (N, C, Q)."""

    function = adaptive.adaptive_max_pool1d


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Largest value of each of P x Q windows that cover the input. (N, C, H, W) -> (N, C, P, Q)."""

    function = adaptive.adaptive_max_pool2d


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Largest value of each window. (N, C, D, H, W) -> (N, C, O, P, Q)."""

    function = adaptive.adaptive_max_pool3d


class _AdaptiveAvgPool(_Pool):
    def __init__(self, output_size: AdaptiveSize) -> None:
        super().__init__(output_size=output_size)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Mean of each of output_size windows that cover the input. (N, C, W) -> (N, C, Q)."""

    function = adaptive.adaptive_avg_pool1d


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Mean of each of P x Q windows that cover the input; AdaptiveAvgPool2d(1) is the global one.
    (N, C, H, W) -> (N, C, P, Q)."""

    function = adaptive.adaptive_avg_pool2d


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Mean of each of output_size windows. (N, C, D, H, W) -> (N, C, O, P, Q)."""

    function = adaptive.adaptive_avg_pool3d


class _MaxUnpool(_Settings):
    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        stride = kernel_size if stride is None else stride
        super().__init__(kernel_size=kernel_size, stride=stride, padding=padding)

    def forward(
        self, input: Tensor, indices: Tensor, output_size: tuple[int, ...] | None = None
    ) -> Tensor:
        return type(self).function(input, indices, **self.settings, output_size=output_size)


class MaxUnpool1d(_MaxUnpool):
    """Inverts MaxPool1d using its indices; zeros elsewhere. (N, C, Q) -> (N, C, W)."""

    function = pool.max_unpool1d


class MaxUnpool2d(_MaxUnpool):
    """Inverts MaxPool2d using its indices; zeros elsewhere. (N, C, P, Q) -> (N, C, H, W)."""

    function = pool.max_unpool2d


class MaxUnpool3d(_MaxUnpool):
    """Inverts MaxPool3d using its indices; zeros elsewhere. (N, C, O, P, Q) -> (N, C, D, H, W)."""

    function = pool.max_unpool3d
