"""Tensor methods that convert to another dtype. They shadow Python's types, but only in this
module."""

from __future__ import annotations

from gpudl.autograd.tensor import Tensor
from gpudl.core.public import public
from gpudl.ops.shape.convert import to


@public("Tensor")
def float(self: Tensor) -> Tensor:
    """The tensor as float32."""
    return to(self, dtype="float32")


@public("Tensor")
def double(self: Tensor) -> Tensor:
    """The tensor as float64."""
    return to(self, dtype="float64")


@public("Tensor")
def half(self: Tensor) -> Tensor:
    """The tensor as float16."""
    return to(self, dtype="float16")


@public("Tensor")
def bfloat16(self: Tensor) -> Tensor:
    """The tensor as bfloat16."""
    return to(self, dtype="bfloat16")


@public("Tensor")
def long(self: Tensor) -> Tensor:
    """The tensor as int64."""
    return to(self, dtype="int64")


@public("Tensor")
def int(self: Tensor) -> Tensor:
    """The tensor as int32."""
    return to(self, dtype="int32")


@public("Tensor")
def bool(self: Tensor) -> Tensor:
    """The tensor as bool."""
    return to(self, dtype="bool")
