"""Layers that pad the spatial axes; see F.pad."""

from __future__ import annotations

from typing import ClassVar

from gpudl.autograd.tensor import Tensor
from gpudl.nn.module import Module
from gpudl.ops.shape.pad import pad

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Module):
    mode: ClassVar[str]
    rank: ClassVar[int]
    value = 0.0

    def __init__(self, padding: int | tuple[int, ...]) -> None:
        super().__init__()
        sides = 2 * self.rank
        self.padding = (padding,) * sides if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != sides:
            raise ValueError(
                f"{type(self).__name__}: padding is {padding}; it must be one number or {sides}: "
                "(before, after) of the last axis, then of the one before it"
            )

    def forward(self, input: Tensor) -> Tensor:
        if input.ndim not in (self.rank + 1, self.rank + 2):
            raise ValueError(
                f"{type(self).__name__}: input has shape {list(input.shape)}; it must have "
                f"{self.rank + 2} axes, or {self.rank + 1} without a batch"
            )
        batch = input if input.ndim == self.rank + 2 else input.unsqueeze(0)
        y = pad(batch, self.padding, self.mode, self.value)
        return y if batch is input else y.squeeze(0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    mode = "constant"

    def __init__(self, padding: int | tuple[int, ...], value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPad(_Pad):
    mode = "constant"


class _ReflectionPad(_Pad):
    mode = "reflect"


class _ReplicationPad(_Pad):
    mode = "replicate"


class _CircularPad(_Pad):
    mode = "circular"


class ConstantPad1d(_ConstantPad):
    """A border of `value` around (N, C, W); negative padding crops."""

    rank = 1


class ConstantPad2d(_ConstantPad):
    """A border of `value` around (N, C, H, W); padding (left, right, top,
    bottom), negative crops."""

    rank = 2


class ConstantPad3d(_ConstantPad):
    """A border of `value` around (N, C, D, H, W); padding (left, right, top,
    bottom, front, back)."""

    rank = 3


class ZeroPad1d(_ZeroPad):
    """A border of zeros around (N, C, W); negative padding crops."""

    rank = 1


class ZeroPad2d(_ZeroPad):
    """A border of zeros around (N, C, H, W); padding (left, right, top,
    bottom), negative crops."""

    rank = 2


class ZeroPad3d(_ZeroPad):
    """A border of zeros around (N, C, D, H, W); padding (left, right, top,
    bottom, front, back)."""

    rank = 3


class ReflectionPad1d(_ReflectionPad):
    """A border that mirrors (N, C, W) at its edge elements; narrower than W."""

    rank = 1


class ReflectionPad2d(_ReflectionPad):
    """A border that mirrors (N, C, H, W) at its edge elements; padding (left, right,
    top, bottom)."""

    rank = 2


class ReflectionPad3d(_ReflectionPad):
    """A border that mirrors (N, C, D, H, W) at its edge elements."""

    rank = 3


class ReplicationPad1d(_ReplicationPad):
    """A border that repeats the edge elements of (N, C, W)."""

    rank = 1


class ReplicationPad2d(_ReplicationPad):
    """A border that repeats the edge elements of (N, C, H, W); padding (left, right,
    top, bottom)."""

    rank = 2


class ReplicationPad3d(_ReplicationPad):
    """A border that repeats the edge elements of (N, C, D, H, W)."""

    rank = 3


class CircularPad1d(_CircularPad):
    """A border that continues (N, C, W) from its other end; at most W wide."""

    rank = 1


class CircularPad2d(_CircularPad):
    """A border that continues (N, C, H, W) from its other end; padding (left, right,
    top, bottom)."""

    rank = 2


class CircularPad3d(_CircularPad):
    """A border that continues (N, C, D, H, W) from its other end."""

    rank = 3
