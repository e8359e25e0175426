"""Calls an operator's forward and backward on a gpudl device, without tape or Tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpudl.bench.workload import Workload
from gpudl.core.layout import arrange
from gpudl.core.op import Array, Op, Spec
from gpudl.devices.find import Device, NativeDevice

Arrays = tuple[Any, ...]


def algorithms(device: Device, op: Op, direction: str, specs: Sequence[Spec | None]) -> list[str]:
    """Names of the forms of the operator that can run on these inputs, in order of preference.

    Raises TypeError if no kernel accepts the inputs."""
    if not isinstance(device, NativeDevice):
        return [a for a in op.cpu if hasattr(op, f"{direction}_{a}")] + ["definition"]
    if not op.kernels:
        return ["definition"]
    return [str(c) for c in device.candidates(op, direction, tuple(specs))]


def ran(device: Device, op: Op, direction: str, specs: Sequence[Spec | None]) -> str | None:
    """The form that the device chose; with tuning on it need not be the preferred one."""
    if not isinstance(device, NativeDevice) or not op.kernels:
        return None
    choice = device.chosen(op, direction, tuple(specs))
    return None if choice is None else str(choice)


class Ours:
    """One set of inputs on the device, in the memory order that the kernels read.

    arranged_dy: the gradient of the first output on the device; set by `backward`.
    """

    arranged_dy: Array

    def __init__(self, work: Workload, device: Device, arrays: Arrays, algorithm: str) -> None:
        self.work, self.device, self.op = work, device, work.op
        self.specs = tuple(None if a is None else Spec(a.shape, a.dtype) for a in arrays)
        placed = tuple(
            None if a is None else device.asarray(a.copy() if n in self.op.mutates else a)
            for n, a in zip(self.op.inputs, arrays, strict=True)
        )
        self.inputs = self._arranged(self.op.inputs, placed, "forward", algorithm)

    def forward(self, requested: str | None) -> Callable[[], Arrays]:
        """requested: the form to run; None lets the device choose."""
        op, specs, inputs, device = self.op, self.specs, self.inputs, self.device
        return lambda: device.forward(op, specs, inputs, requested)

    def backward(
        self, direction: str, requested: str | None, algorithm: str, dy: Array
    ) -> Callable[[], Arrays]:
        """algorithm: sets the memory order. dy: gradient of the first output, on the CPU."""
        needs = self.work.needs(direction)
        outputs = self.device.forward(self.op, self.specs, self.inputs)
        saved = self.op.save(self.inputs, outputs, self.specs, needs)
        first = self.device.asarray(dy)
        named = self._arranged(
            (f"d{self.op.outputs[0]}", *self.op.saves), (first, *saved[:-1]), "backward", algorithm
        )
        self.arranged_dy = named[0]
        dys = (named[0], *(None for _ in outputs[1:]))
        kept = type(saved)(*named[1:], self.specs)
        op, device = self.op, self.device
        return lambda: device.backward(op, dys, kept, needs, requested)

    def _arranged(
        self, names: Sequence[str], arrays: Arrays, direction: str, algorithm: str
    ) -> Arrays:
        """The arrays in the kernel's memory order, so that no copy is timed."""
        if not isinstance(self.device, NativeDevice) or not self.op.kernels:
            return arrays
        name = f"{self.op.name}_{direction}_{algorithm.partition(':')[0]}"
        launcher = self.device.launchers.get(name)
        layouts = {p.name: p.layout for p in launcher.parameters} if launcher else {}
        return tuple(
            a
            if a is None or layouts.get(n) in (None, "any")
            else arrange(self.device.xp, a, layouts[n])
            for n, a in zip(names, arrays, strict=True)
        )


def gradient(spec: Spec, seed: int = 1) -> Array:
    """A random gradient for an output of this spec, on the CPU."""
    from gpudl.bench.workload import Draw

    return Draw(spec.shape).array(np.random.default_rng(seed), spec.dtype)
