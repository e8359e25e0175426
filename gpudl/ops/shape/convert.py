"""Copies: to another dtype or device, to contiguous memory, into another tensor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tape import Node, is_grad_enabled
from gpudl.autograd.tensor import Tensor, shared
from gpudl.core import dtypes
from gpudl.core.op import Case, Op, Spec, is_floating
from gpudl.core.public import public
from gpudl.devices.find import Device, MetaArray
from gpudl.devices.find import device as device_of
from gpudl.ops.elementwise.base import normal
from gpudl.ops.shape.views import expand, reshape


class CastOp(Op):
    """x as another dtype; the gradient is cast back."""

    dtype: Any

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (Spec(x.shape, self.dtype),)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        return (x.astype(self.dtype),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        return (dys[0].astype(saved.specs[0].dtype),)

    def twin(self, torch: Any, x: Any) -> Any:
        return x.to(getattr(torch, self.dtype.name))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case("to double", cls(dtypes.float64), normal((2, 3)))
        yield Case("to integers", cls(dtypes.int64), lambda rng: (np.array([1.7, -1.7], "f"),))
        yield Case("to bool", cls(dtypes.bool_), lambda rng: (np.array([0.0, 0.5], "f"),))


class CloneOp(Op):
    """A copy."""

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (x,)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        return (x.copy(),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        return (dys[0],)

    def twin(self, torch: Any, x: Any) -> Any:
        return x.clone()

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case("plain", cls(), normal((2, 3)))


class TransferNode(Node):
    """A copy to another device; the gradient is copied back."""

    __slots__ = ("source",)

    def __init__(self, edge: Any, source: Device, device: Device) -> None:
        super().__init__("to", (edge,), 1, device)
        self.source = source

    def run(self, dys: tuple[Any, ...]) -> tuple[Any, ...]:
        return (move(dys[0], self.source),)


def move(array: Any, where: Device) -> Any:
    """A copy of the array on another device, even if both devices share memory."""
    if isinstance(array, MetaArray):
        if where.name != "meta":
            raise ValueError(f"to: a tensor on the meta device has no values to copy to {where}")
        return array
    if hasattr(array, "get"):  # CuPy's
        return where.asarray(array.get())
    return where.asarray(array.copy() if where.xp is np else array)


@public("gpudl", "Tensor")
def clone(input: Tensor) -> Tensor:
    """A differentiable copy."""
    return apply(CloneOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def contiguous(self: Tensor) -> Tensor:
    """The tensor itself if its memory is in row-major order, else a copy."""
    if isinstance(self.array, MetaArray) or self.array.flags.c_contiguous:
        return self
    return reshape(clone(reshape(self, -1)), self.shape) if self.numel() else self


@public("Tensor")
def is_contiguous(self: Tensor) -> bool:
    """Whether the memory is in row-major order."""
    return isinstance(self.array, MetaArray) or bool(self.array.flags.c_contiguous)


@public("Tensor")
def to(self: Tensor, *target: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Convert to a dtype, a device, or those of another tensor: `x.to("cuda")`,
    `x.to(gpudl.float32)`, `x.to(device, dtype)`, `x.to(other)`. The tensor itself if nothing
    changes."""
    for wanted in target:
        if isinstance(wanted, Tensor):
            dtype, device = wanted.dtype, wanted.device
        elif isinstance(wanted, Device) or (isinstance(wanted, str) and is_device(wanted)):
            device = wanted
        else:
            dtype = wanted
    result = self
    if dtype is not None:
        wanted_dtype = dtypes.dtype_of(dtype)
        if wanted_dtype != self.dtype:
            result = apply(CastOp.of(wanted_dtype), result)
    if device is not None:
        where = device_of(device)
        if where is not result.device:
            edge = result._edge() if is_grad_enabled() else None
            node = None if edge is None else TransferNode(edge, result.device, where)
            result = Tensor.from_array(move(result.array, where), where, node)
    return result


def is_device(name: str) -> bool:
    return name in ("cpu", "meta", "emulator") or name.partition(":")[0] == "cuda"


@public("Tensor")
def type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor with the dtype and on the device of `other`."""
    return to(self, other)


@public("Tensor")
def cpu(self: Tensor) -> Tensor:
    """The tensor on the cpu."""
    return to(self, device="cpu")


@public("Tensor")
def cuda(self: Tensor, device: int | str | None = None, non_blocking: bool = False) -> Tensor:
    """The tensor on a GPU, by default the first. non_blocking is ignored: copies wait."""
    return to(self, device=f"cuda:{device}" if isinstance(device, int) else device or "cuda")


@public("Tensor")
def is_floating_point(self: Tensor) -> bool:
    """Whether the dtype is float16, bfloat16, float32 or float64."""
    return is_floating(self.dtype)


@public("Tensor")
def copy_(self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    """Overwrite the tensor with src, cast, broadcast and copied from its device as needed.
    non_blocking is ignored: copies wait."""
    src = src if isinstance(src, Tensor) else shared(src)
    if src.shape != self.shape:
        src = expand(src, self.shape)
    moved = to(src, dtype=self.dtype, device=self.device)
    return self._changed_in_place(clone(moved) if moved is src else moved)
