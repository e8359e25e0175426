"""An operator's forward and backward on one of our devices, without tape or Tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gpudl.bench.workload import Workload
from gpudl.device import Device, NativeDevice, arrange, takes
from gpudl.op import Array, Op, Spec

Arrays = tuple[Any, ...]


def algorithms(where: Device, op: Op, direction: str, specs: Sequence[Spec | None]) -> list[str]:
    """Names of all forms of the operator that can run on these inputs, the chosen one first."""
    found: list[str]
    if isinstance(where, NativeDevice) and op.kernels:
        found = [
            a
            for a in where.algorithms(op, direction)
            if takes(where.module, op, direction, a, tuple(specs))
        ]
    elif isinstance(where, NativeDevice):
        return ["definition"]
    else:
        found = [a for a in op.cpu if hasattr(op, f"{direction}_{a}")] + ["definition"]
    first = chosen(where, op, direction, specs)
    return [first, *(a for a in found if a != first)]


def chosen(where: Device, op: Op, direction: str, specs: Sequence[Spec | None]) -> str:
    """The form that runs where none is asked for. TypeError where no kernel takes the inputs."""
    if not isinstance(where, NativeDevice):
        named = (a for a in op.cpu if hasattr(op, f"{direction}_{a}"))
        return next(named, "definition")
    if not op.kernels:
        return "definition"
    return where._choose(op, direction, tuple(specs))


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

    def forward(self, algorithm: str) -> Callable[[], Arrays]:
        op, specs, inputs, where = self.op, self.specs, self.inputs, self.where
        asked = None if not _has_forms(where, op) else algorithm
        return lambda: where.forward(op, specs, inputs, asked)

    def backward(self, direction: str, algorithm: str, dy: Array) -> Callable[[], Arrays]:
        """dy: gradient of the first output, on the CPU."""
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
        asked = None if not _has_forms(where, op) else algorithm
        return lambda: where.backward(op, dys, kept, needs, asked)

    def _arranged(
        self, names: Sequence[str], arrays: Arrays, direction: str, algorithm: str
    ) -> Arrays:
        """As the kernel reads them, so that no copy is timed."""
        if not isinstance(self.where, NativeDevice) or not self.op.kernels:
            return arrays
        schema = self.where.module.schema.get(f"{self.op.name}_{direction}_{algorithm}", ())
        layouts = {p["name"]: p["layout"] for p in schema}
        return tuple(
            a
            if a is None or layouts.get(n) in (None, "any")
            else arrange(self.where.xp, a, layouts[n])
            for n, a in zip(names, arrays, strict=True)
        )


def _has_forms(where: Device, op: Op) -> bool:
    return not isinstance(where, NativeDevice) or bool(op.kernels)


def gradient(spec: Spec, seed: int = 1) -> Array:
    """A gradient of an output of this spec, on the CPU."""
    from gpudl.bench.workload import Draw

    return Draw(spec.shape).array(np.random.default_rng(seed), spec.dtype)
