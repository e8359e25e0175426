"""Tensor's methods that convert to another dtype. They have the names of Python's types, which they
hide in this module alone."""

from __future__ import annotations

from gpudl.autograd.tensor import Tensor
from gpudl.core.public import public
from gpudl.ops.shape.convert import to


@public("Tensor")
def float(self: Tensor) -> Tensor:
    """As float32."""
    return to(self, dtype="float32")


@public("Tensor")
def double(self: Tensor) -> Tensor:
    """As float64."""
    return to(self, dtype="float64")


@public("Tensor")
def half(self: Tensor) -> Tensor:
    """As float16."""
    return to(self, dtype="float16")


@public("Tensor")
def bfloat16(self: Tensor) -> Tensor:
    """As bfloat16."""
    return to(self, dtype="bfloat16")


@public("Tensor")
def long(self: Tensor) -> Tensor:
    """As int64."""
    return to(self, dtype="int64")


@public("Tensor")
def int(self: Tensor) -> Tensor:
    """As int32."""
    return to(self, dtype="int32")


@public("Tensor")
def bool(self: Tensor) -> Tensor:
    """As bool."""
    return to(self, dtype="bool")
