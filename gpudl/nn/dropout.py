"""Dropout of whole channels, and alpha dropout; layers.py has Dropout."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from gpudl.autograd.tensor import Tensor
from gpudl.nn.module import Module
from gpudl.ops.random.dropout import (
    alpha_dropout,
    check_probability,
    dropout1d,
    dropout2d,
    dropout3d,
)

__all__ = ["AlphaDropout", "Dropout1d", "Dropout2d", "Dropout3d"]


class _Dropout(Module):
    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability(type(self).__name__, p)
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout1d(_Dropout):
    """In training, zeroes each channel of (N, C, L) with probability p and divides the others by
    1 - p."""

    function = staticmethod(dropout1d)


class Dropout2d(_Dropout):
    """In training, zeroes each channel of (N, C, H, W) with probability p and divides the others
    by 1 - p."""

    function = staticmethod(dropout2d)


class Dropout3d(_Dropout):
    """In training, zeroes each channel of (N, C, D, H, W) with probability p and divides the
    others by 1 - p."""

    function = staticmethod(dropout3d)


class AlphaDropout(_Dropout):
    """Dropout that preserves mean 0 and variance 1, for SELU (Klambauer et al. 2017)."""

    function = staticmethod(alpha_dropout)
