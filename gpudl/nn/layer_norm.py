"""Normalisation over the last axes of each sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpudl.autograd.tensor import Tensor
from gpudl.nn.module import Module, Parameter
from gpudl.ops.norm.layer import layer_norm, rms_norm, shape_of
from gpudl.ops.shape.create import ones, zeros

__all__ = ["LayerNorm", "RMSNorm"]


class LayerNorm(Module):
    """y = (x - mean)/√(var + eps)·weight + bias over the last axes, of extents normalized_shape.

    weight starts as ones, bias as zeros. Source: Ba, Kiros and Hinton, Layer Normalization (2016).
    """

    weight: Parameter | None
    bias: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        shape = self.normalized_shape = shape_of(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        affine = elementwise_affine
        self.register_parameter("weight", Parameter(ones(shape)) if affine else None)
        self.register_parameter("bias", Parameter(zeros(shape)) if affine and bias else None)
        self.to(device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"


class RMSNorm(Module):
    """y = x/√(mean(x²) + eps)·weight over the last axes, of extents normalized_shape.

    eps=None: the dtype's machine epsilon. Source: Zhang and Sennrich, Root Mean Square Layer
    Normalization (2019).
    """

    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        shape = self.normalized_shape = shape_of(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.register_parameter("weight", Parameter(ones(shape)) if elementwise_affine else None)
        self.to(device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:
        return rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"
