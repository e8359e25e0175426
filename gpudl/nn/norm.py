"""Batch normalisation layers."""

from __future__ import annotations

import numpy as np

from gpudl.nn.module import Module, Parameter
from gpudl.ops.create import ones, zeros
from gpudl.ops.norm import batch_norm
from gpudl.tensor import Tensor

__all__ = ["BatchNorm1d", "BatchNorm2d"]


class _BatchNorm(Module):
    """y = (x - mean) / √(var + eps) · weight + bias, per channel.

    In training mean and variance (biased) are the batch's, and the running statistics move towards
    them by `momentum` (the running variance is unbiased); momentum=None averages all batches
    equally. In evaluation the running statistics are used. Source: Ioffe and Szegedy, Batch
    Normalization (2015).
    """

    axes: tuple[int, ...] = ()
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.register_parameter("weight", Parameter(ones(num_features)) if affine else None)
        self.register_parameter("bias", Parameter(zeros(num_features)) if affine else None)
        tracked = track_running_stats
        self.register_buffer("running_mean", zeros(num_features) if tracked else None)
        self.register_buffer("running_var", ones(num_features) if tracked else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype=np.int64) if tracked else None)

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in self.axes:
            raise ValueError(
                f"{type(self).__name__}: input has {input.ndim} axes; it must have "
                f"{' or '.join(map(str, self.axes))}"
            )
        momentum = self.momentum if self.momentum is not None else 0.0
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.data += 1
            if self.momentum is None:
                momentum = 1.0 / float(self.num_batches_tracked.item())
        use_batch = self.training or self.running_mean is None
        return batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            use_batch,
            momentum,
            self.eps,
        )

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L)."""

    axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of (N, C, H, W)."""

    axes = (4,)
