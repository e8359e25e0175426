"""Softmax of the negated input, and softmax over the channels of images."""

from __future__ import annotations

from gpudl.autograd.tensor import Tensor
from gpudl.nn.module import Module
from gpudl.ops.activation.softmax import softmax2d, softmin

__all__ = ["Softmax2d", "Softmin"]


class Softmin(Module):
    """exp(-x) / Σ exp(-x) along dim."""

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return softmin(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax2d(Module):
    """Softmax over the channels of each pixel, (N, C, H, W) or (C, H, W)."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return softmax2d(input)
