"""An operator's forward and backward on one of our devices, without tape or Tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpudl.bench.workload import Workload
from gpudl.core.layout import arrange
from gpudl.core.op import Array, Op, Spec
from gpudl.devices.find import Device, NativeDevice

Arrays = tuple[Any, ...]


def algorithms(where: Device, op: Op, direction: str, specs: Sequence[Spec | None]) -> list[str]:
    """Names of all forms of the operator that can run on these inputs, the preferred one first.
    TypeError where no kernel takes them."""
    if not isinstance(where, NativeDevice):
        return [a for a in op.cpu if hasattr(op, f"{direction}_{a}")] + ["definition"]
    if not op.kernels:
        return ["definition"]
    return [str(c) for c in where.candidates(op, direction, tuple(specs))]


def ran(where: Device, op: Op, direction: str, specs: Sequence[Spec | None]) -> str | None:
    """What ran where no form was asked for: with tuning on it need not be the preferred one."""
    if not isinstance(where, NativeDevice) or not op.kernels:
        return None
    found = where.chosen(op, direction, tuple(specs))
    return None if found is None else str(found)


class Ours:
    """One set of inputs on the device, in the memory order that the kernels read.

    arranged_dy: the gradient of the first output on the device, there once backward was asked for.
    """

    arranged_dy: Array

    def __init__(self, work: Workload, where: Device, arrays: Arrays, algorithm: str) -> None:
        self.work, self.where, self.op = work, where, work.op
        self.specs = tuple(None if a is None else Spec(a.shape, a.dtype) for a in arrays)
        placed = tuple(
            None if a is None else where.asarray(a.copy() if n in self.op.mutates else a)
            for n, a in zip(self.op.inputs, arrays, strict=True)
        )
        self.inputs = self._arranged(self.op.inputs, placed, "forward", algorithm)

    def forward(self, asked: str | None) -> Callable[[], Arrays]:
        """asked: a form, None for the one that the device chooses."""
        op, specs, inputs, where = self.op, self.specs, self.inputs, self.where
        return lambda: where.forward(op, specs, inputs, asked)

    def backward(
        self, direction: str, asked: str | None, algorithm: str, dy: Array
    ) -> Callable[[], Arrays]:
        """algorithm: whose memory order is made. dy: gradient of the first output, on the CPU."""
        needs = self.work.needs(direction)
        outputs = self.where.forward(self.op, self.specs, self.inputs)
        saved = self.op.save(self.inputs, outputs, self.specs, needs)
        first = self.where.asarray(dy)
        named = self._arranged(
            (f"d{self.op.outputs[0]}", *self.op.saves), (first, *saved[:-1]), "backward", algorithm
        )
        self.arranged_dy = named[0]
        dys = (named[0], *(None for _ in outputs[1:]))
        kept = type(saved)(*named[1:], self.specs)
        op, where = self.op, self.where
        return lambda: where.backward(op, dys, kept, needs, asked)

    def _arranged(
        self, names: Sequence[str], arrays: Arrays, direction: str, algorithm: str
    ) -> Arrays:
        """As the kernel reads them, so that no copy is timed."""
        if not isinstance(self.where, NativeDevice) or not self.op.kernels:
            return arrays
        launcher = f"{self.op.name}_{direction}_{algorithm.partition(':')[0]}"
        schema = self.where.module.schema
        parameters = schema[launcher]["parameters"] if launcher in schema else ()
        layouts = {p["name"]: p["layout"] for p in parameters}
        return tuple(
            a
            if a is None or layouts.get(n) in (None, "any")
            else arrange(self.where.xp, a, layouts[n])
            for n, a in zip(names, arrays, strict=True)
        )


def gradient(spec: Spec, seed: int = 1) -> Array:
    """A gradient of an output of this spec, on the CPU."""
    from gpudl.bench.workload import Draw

    return Draw(spec.shape).array(np.random.default_rng(seed), spec.dtype)
