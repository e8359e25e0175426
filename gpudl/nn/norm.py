"""Batch normalisation layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.nn.module import Module, Parameter
from gpudl.ops.norm.batch import batch_norm
from gpudl.ops.shape.create import ones, zeros

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d"]


class _BatchNorm(Module):
    """y = activation((x - mean) / √(var + eps) · weight + bias + residual), per channel (axis 1).

    Training uses the batch's mean and (biased) variance and moves the running statistics towards
    them by `momentum` (the running variance is unbiased); momentum=None averages all batches
    equally. Evaluation uses the running statistics.

    activation ("none", "relu", "relu6" or "leaky_relu") and the second argument of the call, the
    residual, are additions to PyTorch; each saves a pass over the tensor.
    `BatchNorm2d(64, activation="relu")(x, shortcut)` is `relu(BatchNorm2d(64)(x) + shortcut)`.

    Source: Ioffe and Szegedy, Batch Normalization (2015).
    """

    axes: tuple[int, ...] = ()
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    may_lack = ("num_batches_tracked",)
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
        activation: str = "none",
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.activation = activation
        self.register_parameter("weight", Parameter(ones(num_features)) if affine else None)
        shift = Parameter(zeros(num_features)) if affine and bias else None
        self.register_parameter("bias", shift)
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features) if tracked else None)
        self.register_buffer("running_var", ones(num_features) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype=np.int64) if tracked else None)
        self.to(device=device, dtype=dtype)

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        if input.ndim not in self.axes:
            raise ValueError(
                f"{type(self).__name__}: input has {input.ndim} axes; it must have "
                f"{' or '.join(map(str, self.axes))}"
            )
        untracked = self.num_batches_tracked is None
        return batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            0.0 if untracked and self.momentum is None else self.momentum,
            self.eps,
            residual=residual,
            activation=self.activation,
            num_batches_tracked=self.num_batches_tracked if self.training else None,
        )

    def extra_repr(self) -> str:
        text = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
        return text if self.activation == "none" else f"{text}, activation={self.activation!r}"


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L)."""

    axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W)."""

    axes = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W)."""

    axes = (5,)
