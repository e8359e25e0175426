"""Devices with hand-written kernels: choosing an operator's kernel and calling it with its
arguments in the memory order that it needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from gpudl.core.choice import Candidate, choices, median_seconds
from gpudl.core.launcher import Launcher, Parameter
from gpudl.core.layout import arrange, channels_first, channels_last, memory_order
from gpudl.core.machine import H100, Machine
from gpudl.core.op import Array, Arrays, Needs, Op, Spec, Specs, is_floating
from gpudl.devices.base import Device, quietly

# The formats to which float32 operands may be rounded at each precision.
ALLOWED = {
    "highest": {"float32"},
    "high": {"float32", "tf32"},
    "medium": {"float32", "tf32", "bfloat16"},
}


class NativeDevice(Device):
    """A device that runs hand-written kernels: the emulator on NumPy arrays, CUDA on CuPy's.

    copies: the number of inputs rearranged because a kernel needs another memory order.
    allocate: creates the arrays that kernels write; tests replace it to poison and guard them.
    """

    copies = 0
    precision: ClassVar[str] = "highest"  # of float32 products; shared by all devices
    module: ModuleType
    launchers: dict[str, Launcher]  # of the module, by name

    def __init__(self) -> None:
        self.allocate: Callable[[Spec], Array] = self.empty

    def empty(self, spec: Spec) -> Array:
        if spec.layout == "nhwc":
            rank = len(spec.shape)
            shape = tuple(spec.shape[axis] for axis in channels_last(rank))
            return self.xp.empty(shape, spec.dtype).transpose(channels_first(rank))
        return self.xp.empty(spec.shape, spec.dtype)

    def prepare(self) -> None:
        """Called before each kernel call: selects stream and schedule."""

    def forward(self, op: Op, specs: Specs, arrays: Arrays, algorithm: str | None = None) -> Arrays:
        if not op.kernels:
            return quietly(op.forward, self.xp, *arrays)  # type: ignore[no-any-return]
        values = dict(zip(op.inputs, arrays, strict=True))
        results = dict(zip(op.outputs, op.infer_cached(specs), strict=True))
        call = self._plan(op, "forward", algorithm, specs, None, values, results)
        outputs = call(self, values, results)
        return tuple(outputs[name] for name in op.outputs)

    def backward(
        self, op: Op, dys: Arrays, saved: Any, needs: Needs, algorithm: str | None = None
    ) -> Arrays:
        if not op.kernels:
            return quietly(op.backward, self.xp, dys, saved, needs)  # type: ignore[no-any-return]
        specs = saved.specs
        values = {f"d{name}": dy for name, dy in zip(op.outputs, dys, strict=True)}
        values.update(zip(op.saves, saved, strict=False))
        results = {
            f"d{name}": spec
            for name, spec, need in zip(op.inputs, specs, needs, strict=True)
            if need and spec is not None and is_floating(spec.dtype)
        }
        call = self._plan(op, "backward", algorithm, specs, needs, values, results)
        gradients = call(self, values, results)
        return tuple(gradients.get(f"d{name}") for name in op.inputs)

    def forward_wide(
        self, op: Op, specs: Specs, arrays: Arrays, algorithm: str | None = None
    ) -> Arrays:
        """Uses a kernel for these dtypes if there is one: kernels accumulate in float32."""
        takes = self.has_kernel(op, "forward", specs)
        run = self.forward if takes else super().forward_wide
        return run(op, specs, arrays, algorithm)

    def backward_wide(
        self, op: Op, dys: Arrays, saved: Any, needs: Needs, algorithm: str | None = None
    ) -> Arrays:
        takes = self.has_kernel(op, "backward", saved.specs)
        run = self.backward if takes else super().backward_wide
        return run(op, dys, saved, needs, algorithm)

    def has_kernel(self, op: Op, direction: str, specs: Specs) -> bool:
        """Whether some kernel takes inputs of these shapes and dtypes."""
        known = op.cache(f"{self.name} takes")
        found = known.get((direction, specs))
        if found is None:
            kernels = self.kernels(op, direction)
            found = known[direction, specs] = any(self.takes(op, k, specs) for k in kernels)
        return bool(found)

    def launcher(self, op: Op, direction: str, algorithm: str) -> Launcher:
        return self.launchers[f"{op.name}_{direction}_{algorithm}"]

    def kernels(self, op: Op, direction: str) -> tuple[Launcher, ...]:
        """The launchers of the operator's hand-written algorithms on this device."""
        found = (self.launchers.get(f"{op.name}_{direction}_{a}") for a in op.kernels)
        return tuple(kernel for kernel in found if kernel)

    def algorithms(self, op: Op, direction: str) -> tuple[str, ...]:
        """The names of the operator's hand-written algorithms on this device."""
        return tuple(kernel.algorithm for kernel in self.kernels(op, direction))

    def _plan(
        self,
        op: Op,
        direction: str,
        algorithm: str | None,
        specs: Specs,
        needs: Needs | None,
        values: dict[str, Any],
        results: dict[str, Spec],
    ) -> KernelCall:
        plans = op.cache(self.name)
        key = (direction, algorithm, specs, needs, NativeDevice.precision, choices.generation)
        plan = plans.get(key)
        if plan is None:
            if algorithm is not None:
                chosen = Candidate.parse(algorithm)
            else:
                chosen = self._choose(op, direction, specs, values, results)
            launcher = self.launcher(op, direction, chosen.algorithm)
            plan = KernelCall(launcher, op, chosen, specs)
            plans[key] = plan
        return plan

    def _choose(
        self,
        op: Op,
        direction: str,
        specs: Specs,
        values: dict[str, Any],
        results: dict[str, Spec],
    ) -> Candidate:
        """The recorded kernel, else with tuning the fastest, else the one the operator prefers."""
        candidates = self.candidates(op, direction, specs)
        if not choices.asked() or op.mutates or len(candidates) == 1:
            return candidates[0]
        problem = describe_problem(op, direction, specs, results)
        recorded = choices.recorded(self.place, problem)
        if recorded in candidates:
            return recorded
        if not choices.tuning:
            return candidates[0]

        def seconds_of(candidate: Candidate) -> float:
            launcher = self.launcher(op, direction, candidate.algorithm)
            call = KernelCall(launcher, op, candidate, specs)
            return median_seconds(lambda: call(self, values, results), self.synchronize)

        return choices.fastest(self.place, problem, candidates, seconds_of)

    def candidates(self, op: Op, direction: str, specs: Specs) -> list[Candidate]:
        """The kernels that can run the operator on such inputs at the requested precision: the
        preferred one first, then all tile shapes of each. Raises TypeError if there are none.
        """
        known = self.kernels(op, direction)
        gpu = None if self.name == "emulator" else self.machine
        preferred = op.prefer(gpu, NativeDevice.precision, known, *specs)
        fit = [k for k in preferred if self.takes(op, k, specs)]
        exact = [k for k in fit if is_precise(k, specs, NativeDevice.precision)]
        if not fit:
            given = [f"{n} {s}" for n, s in zip(op.inputs, specs, strict=True) if s is not None]
            raise TypeError(
                f"{op.name}: no {direction} kernel on {self.name} takes {', '.join(given)}; it has "
                f"{self.algorithms(op, direction) or 'none'} (use float32, or device='cpu')"
            )
        kernels = dict.fromkeys([fit[0], *exact])
        firsts = [Candidate(k.algorithm) for k in kernels]
        shaped = [
            Candidate(k.algorithm, shape)
            for k in kernels
            for shape in op.tile_shapes(k, *specs)
            if shape != 0
        ]
        return firsts + shaped

    def takes(self, op: Op, kernel: Launcher, specs: Specs) -> bool:
        """Whether the kernel takes inputs of these dtypes, the operator declares them supported,
        and this device meets the kernel's requirements."""
        given = dict(zip(op.inputs, specs, strict=True))
        if kernel.direction == "backward":  # it may read no input, only gradients and outputs
            given.update(zip(op.outputs, op.infer_cached(specs), strict=True))
            given.update({f"d{name}": spec for name, spec in given.items()})
        for p in kernel.parameters:
            spec = given.get(p.name)
            if spec is not None and p.kind == "array" and p.dtype != spec.dtype.name:
                return False
        return op.supports(kernel, *specs) and op.fits(self.machine, kernel, *specs)

    def chosen(self, op: Op, direction: str, specs: Specs) -> Candidate | None:
        """The kernel that ran on such inputs under the current settings; None if none did."""
        for key, plan in op.cache(self.name).items():
            now = NativeDevice.precision, choices.generation
            if (key[0], key[1], key[2], *key[4:]) == (direction, None, specs, *now):
                return plan.chosen  # type: ignore[no-any-return]
        return None

    @property
    def place(self) -> str:
        """Device, compiler and build, for which measured times are valid."""
        raise TypeError

    @cached_property
    def machine(self) -> Machine:
        """The GPU for which times are predicted."""
        return H100


def is_precise(kernel: Launcher, specs: Specs, precision: str) -> bool:
    """Whether the kernel rounds float32 operands no further than the precision allows."""
    first = next((s for s in specs if s is not None and is_floating(s.dtype)), None)
    if first is None or first.dtype != np.float32:
        return True
    return kernel.computes.rounds in ALLOWED[precision]


def describe_problem(op: Op, direction: str, specs: Specs, results: dict[str, Spec]) -> str:
    """Operator, fields, direction, shapes, dtypes, requested results, and precision. Memory order
    is left out: each kernel takes only one."""
    inputs = ", ".join(str(s) for s in specs)
    computed = ", ".join(results)
    return f"{op!r} {direction} ({inputs}) -> {computed}, {NativeDevice.precision}"


def build_of(module: ModuleType) -> str:
    """Names one build of a native module."""
    import hashlib
    from pathlib import Path

    content = Path(str(module.__file__)).read_bytes()
    return f"{module.nvcc or module.compiler}, build {hashlib.sha256(content).hexdigest()[:12]}"


class KernelCall:
    """A launcher and the source of each argument: the caller, arrays created here, or the
    operator's fields."""

    def __init__(self, launcher: Launcher, op: Op, chosen: Candidate, specs: Specs) -> None:
        self.launcher, self.name = launcher, launcher.name
        self.chosen = chosen
        self.fixed = {**op.parameters(), "tile_shape": chosen.tile_shape}
        names = [p.name for p in launcher.parameters]
        self.place = names.index("workspace") if launcher.workspace else -1
        self.workspace: int | None = None  # its number of elements, known after the first call
        # A gradient that the launcher requires (not Maybe) is allocated even if nobody needs it.
        self.scratch = {
            p.name: Spec(spec.shape, spec.dtype, p.layout)
            for name, spec in zip(op.inputs, specs, strict=True)
            for p in self.launcher.parameters
            if p.name == f"d{name}" and spec is not None and not p.optional
        }

    def __call__(
        self, device: NativeDevice, values: dict[str, Any], results: dict[str, Spec]
    ) -> dict[str, Array]:
        """values: arrays by name. results: specs of the arrays to write, by name; these are
        returned."""
        written: dict[str, Array] = {}
        arguments = []
        like: Array | None = None  # arguments of layout "any" share its memory order
        for p in self.launcher.parameters:
            name = p.name
            if name in results:
                array = written[name] = self._result(device, results[name], p, like)
            elif name == "workspace":
                array = None  # allocated below: its size depends on the other arguments
            elif name in self.scratch:
                array = device.allocate(self.scratch[name])
            elif p.kind == "array":
                array = self._input(device, values.get(name), p, like)
            else:
                array = self.fixed[name]
            if p.layout == "any" and like is None:
                like = array
            arguments.append(array)
        if self.launcher.workspace is not None:
            if self.workspace is None:
                self.workspace = self.launcher.workspace(*arguments)
            scratch = device.allocate(Spec((self.workspace,), np.dtype(np.float32)))
            arguments[self.place] = scratch
        device.prepare()
        self.launcher.run(*arguments)
        missing = results.keys() - written.keys()
        if missing:
            raise TypeError(f"{self.name}: the kernel writes no {', '.join(sorted(missing))}")
        return written

    def _result(self, device: NativeDevice, spec: Spec, p: Parameter, like: Array | None) -> Array:
        if p.layout == "any" and like is not None and like.shape == spec.shape:
            order = memory_order(like)
            if order != tuple(range(len(order))):
                base = device.allocate(Spec(tuple(spec.shape[a] for a in order), spec.dtype))
                return base.transpose(np.argsort(order))
        return device.allocate(Spec(spec.shape, spec.dtype, p.layout))

    def _input(
        self, device: NativeDevice, array: Array | None, p: Parameter, like: Array | None
    ) -> Any:
        if array is None:
            if not p.optional:
                raise TypeError(f"{self.name}: {p.name} is None, but the kernel requires it")
            return None
        if isinstance(array, np.generic):  # NumPy returns these instead of arrays without axes
            array = np.asarray(array)
        arranged = arrange(device.xp, array, p.layout, like)
        if arranged is not array:
            if p.writable:
                raise ValueError(
                    f"{self.name}: {p.name} is changed in place, so it must already be in "
                    f"{p.layout} order; pass a contiguous tensor"
                )
            device.copies += 1
        return arranged
