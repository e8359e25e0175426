"""One call of a launcher: its arguments in the memory order that the kernel wants."""

from __future__ import annotations

from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from gpudl.core.choice import Candidate
from gpudl.core.op import Array, Op, Spec

if TYPE_CHECKING:
    from gpudl.devices.native import NativeDevice

NHWC = (0, 2, 3, 1)  # axes of a logical (N, C, H, W) array in channels-last memory order
NCHW = (0, 3, 1, 2)  # and back


@cache
def channels_last(ndim: int) -> tuple[int, ...]:
    """NHWC for (N, C, ...) arrays of any rank: the axes from slowest to fastest."""
    return (0, *range(2, ndim), 1)


@cache
def channels_first(ndim: int) -> tuple[int, ...]:
    """And back."""
    return (0, ndim - 1, *range(1, ndim - 1))


class KernelCall:
    """One launcher with its arguments sorted out: which come from the caller, which are made here,
    which are the operator's fields."""

    def __init__(
        self,
        module: ModuleType,
        op: Op,
        direction: str,
        chosen: Candidate,
        specs: tuple[Spec | None, ...],
    ) -> None:
        self.chosen = chosen
        self.name = f"{op.name}_{direction}_{chosen.algorithm}"
        self.launch = getattr(module, self.name)
        self.parameters = module.schema[self.name]
        self.fixed = {**op.parameters(), "tile_shape": chosen.tile_shape}
        self.mutates = op.mutates
        self.workspace = op.workspace(direction, chosen.algorithm, *specs)
        # A gradient that the launcher works on (not Maybe) is made even where nobody needs it.
        self.scratch = {
            p["name"]: Spec(spec.shape, spec.dtype, p["layout"])
            for name, spec in zip(op.inputs, specs, strict=True)
            for p in self.parameters
            if p["name"] == f"d{name}" and spec is not None and not p["optional"]
        }

    def __call__(
        self, device: NativeDevice, values: dict[str, Any], results: dict[str, Spec]
    ) -> dict[str, Array]:
        """values: arrays by name. results: what the kernel must write, by name; returned."""
        made: dict[str, Array] = {}
        arguments = []
        like: Array | None = None  # the array whose memory order all arguments of layout "any" take
        for p in self.parameters:
            name = p["name"]
            if name in results:
                array = made[name] = self._result(device, results[name], p, like)
            elif name == "workspace":
                array = device.allocate(Spec((self.workspace,), np.dtype(np.float32)))
            elif name in self.scratch:
                array = device.allocate(self.scratch[name])
            elif p["kind"] == "array":
                array = self._input(device, values.get(name), p, like)
            else:
                array = self.fixed[name]
            if p["layout"] == "any" and like is None:
                like = array
            arguments.append(array)
        device.prepare()
        self.launch(*arguments)
        missing = results.keys() - made.keys()
        if missing:
            raise TypeError(f"{self.name}: the kernel writes no {', '.join(sorted(missing))}")
        return made

    def _result(self, device: NativeDevice, spec: Spec, p: Any, like: Array | None) -> Array:
        if p["layout"] == "any" and like is not None and like.shape == spec.shape:
            order = memory_order(like)
            if order != tuple(range(len(order))):
                base = device.allocate(Spec(tuple(spec.shape[a] for a in order), spec.dtype))
                return base.transpose(np.argsort(order))
        return device.allocate(Spec(spec.shape, spec.dtype, p["layout"]))

    def _input(self, device: NativeDevice, array: Array | None, p: Any, like: Array | None) -> Any:
        if array is None:
            if not p["optional"]:
                raise TypeError(f"{self.name}: {p['name']} is absent, but the kernel needs it")
            return None
        if isinstance(array, np.generic):  # NumPy makes them of arrays without axes
            array = np.asarray(array)
        arranged = arrange(device.xp, array, p["layout"], like)
        if arranged is not array:
            if p["writable"]:
                raise ValueError(
                    f"{self.name}: {p['name']} is changed in place, so it must lie in "
                    f"{p['layout']} order already; pass a contiguous tensor"
                )
            device.copies += 1
        return arranged


def memory_order(array: Array) -> tuple[int, ...]:
    """Axes from slowest to fastest in memory."""
    strides = array.strides
    return tuple(sorted(range(array.ndim), key=lambda axis: -strides[axis]))


def arrange(xp: Any, array: Array, layout: str, like: Array | None = None) -> Array:
    """The array with its elements in the memory order that a kernel wants; itself if they are."""
    if layout == "nhwc":
        order = channels_last(array.ndim)
        if is_dense(array, order):
            return array
        return xp.ascontiguousarray(array.transpose(order)).transpose(channels_first(array.ndim))
    if layout == "any":
        order = memory_order(array if like is None or like.shape != array.shape else like)
        if is_dense(array, order):
            return array
        if like is None:
            return xp.ascontiguousarray(array)
        inverse = tuple(int(axis) for axis in np.argsort(order))
        return xp.ascontiguousarray(array.transpose(order)).transpose(inverse)
    return array if is_dense(array, tuple(range(array.ndim))) else xp.ascontiguousarray(array)


def is_dense(array: Array, order: tuple[int, ...]) -> bool:
    """No gaps, with the axes in this order from slowest to fastest; axes of size 1 fit anywhere."""
    if array.size == 0:
        return True
    expected = array.itemsize
    shape, strides = array.shape, array.strides
    for axis in reversed(order):
        if shape[axis] != 1 and strides[axis] != expected:
            return False
        expected *= shape[axis]
    return True
