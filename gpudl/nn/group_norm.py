"""Group and instance normalisation."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.nn.module import Module, Parameter
from gpudl.ops.norm.group import group_norm, instance_norm
from gpudl.ops.shape.create import ones, zeros

__all__ = ["GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"]


class GroupNorm(Module):
    """y = (x - mean)/√(var + eps)·weight + bias over num_groups groups of channels of each sample.

    Source: Wu and He, Group Normalization (2018).
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if num_channels % num_groups != 0:
            raise ValueError(
                f"GroupNorm: num_channels is {num_channels}; it must be divisible by "
                f"num_groups={num_groups}"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self.register_parameter("weight", Parameter(ones(num_channels)) if affine else None)
        shift = Parameter(zeros(num_channels)) if affine and bias else None
        self.register_parameter("bias", shift)
        self.to(device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


class _InstanceNorm(Module):
    """y = (x - mean)/√(var + eps)·weight + bias, per channel of each sample.

    track_running_stats: in training, running statistics move by `momentum` towards the mean over
    samples; evaluation uses them. Source: Ulyanov, Vedaldi and Lempitsky, Instance Normalization
    (2016).
    """

    axes: int
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    may_lack = ("num_batches_tracked",)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = tracked = track_running_stats
        self.register_parameter("weight", Parameter(ones(num_features)) if affine else None)
        shift = Parameter(zeros(num_features)) if affine and bias else None
        self.register_parameter("bias", shift)
        self.register_buffer("running_mean", zeros(num_features) if tracked else None)
        self.register_buffer("running_var", ones(num_features) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype=np.int64) if tracked else None)
        self.to(device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim == self.axes - 1:  # one sample
            return self.forward(input.reshape((1, *input.shape))).reshape(input.shape)
        channels = input.shape[1] if input.ndim > 1 else 0
        if input.ndim != self.axes or (channels != self.num_features):
            raise ValueError(
                f"{type(self).__name__}: input is {list(input.shape)}; it must have {self.axes} "
                f"axes, the second with {self.num_features} channels"
            )
        return instance_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of (N, C, L) or (C, L)."""

    axes = 3


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of (N, C, H, W) or (C, H, W)."""

    axes = 4


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of (N, C, D, H, W) or (C, D, H, W)."""

    axes = 5
