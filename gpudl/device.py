"""Devices: where arrays live and how an operator runs there, behind one protocol.

cpu runs an operator's NumPy definition (or a faster NumPy form beside it), emulator and cuda run
its hand-written kernels (one source, built twice), meta only infers shapes.
"""

from __future__ import annotations

import os
from _thread import _local  # threading.local; the module itself takes a millisecond to import
from collections.abc import Callable
from functools import cache, cached_property
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gpudl import _native
from gpudl.choice import Candidate, choices, median_seconds
from gpudl.kernel_call import NHWC as NHWC
from gpudl.kernel_call import KernelCall, channels_first, channels_last
from gpudl.kernel_call import is_dense as is_dense
from gpudl.machine import H100, Machine, machine_of
from gpudl.op import Array, Op, Spec, is_floating


class _Chosen(_local):
    """The devices of the with statements that this thread is in, the innermost last."""

    devices: tuple[Device, ...] = ()


_chosen = _Chosen()


class Device:
    """A place for arrays. name: "cpu", "emulator", "cuda", "cuda:1" or "meta".

    As a context manager it is where constructors and layers make their tensors:

    >>> with gpudl.device("meta"):
    ...     net = models.create("vgg16")  # shapes, no memory
    """

    name: str
    xp: Any = np

    def __enter__(self) -> Device:
        _chosen.devices += (self,)
        return self

    def __exit__(self, *_: object) -> None:
        _chosen.devices = _chosen.devices[:-1]

    def __repr__(self) -> str:
        return f"device({self.name!r})"

    def __str__(self) -> str:
        return self.name

    def __eq__(self, other: object) -> bool:
        return self.name == (other if isinstance(other, str) else getattr(other, "name", None))

    def __hash__(self) -> int:
        return hash(self.name)

    def asarray(self, array: Any) -> Array:
        """The NumPy array on this device; shares memory where it can."""
        return np.asarray(array)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return array  # type: ignore[no-any-return]

    def forward(
        self,
        op: Op,
        specs: tuple[Spec | None, ...],
        arrays: tuple[Array | None, ...],
        algorithm: str | None = None,
    ) -> tuple[Array, ...]:
        """Outputs of the operator. `algorithm` asks for one of its forms; None leaves it open."""
        raise TypeError

    def backward(
        self,
        op: Op,
        dys: tuple[Array | None, ...],
        saved: Any,
        needs: tuple[bool, ...],
        algorithm: str | None = None,
    ) -> tuple[Array | None, ...]:
        raise TypeError

    def synchronize(self) -> None:
        """Wait until all work submitted to the device is done."""


class Cpu(Device):
    name = "cpu"

    def forward(
        self,
        op: Op,
        specs: tuple[Spec | None, ...],
        arrays: tuple[Array | None, ...],
        algorithm: str | None = None,
    ) -> tuple[Array, ...]:
        run = _numpy_form(op, "forward", algorithm)
        return _quietly(run, np, *arrays)  # type: ignore[no-any-return]

    def backward(
        self,
        op: Op,
        dys: tuple[Array | None, ...],
        saved: Any,
        needs: tuple[bool, ...],
        algorithm: str | None = None,
    ) -> tuple[Array | None, ...]:
        run = _numpy_form(op, "backward", algorithm)
        return _quietly(run, np, dys, saved, needs)  # type: ignore[no-any-return]


@np.errstate(all="ignore")  # as a decorator it costs a third of what a with statement does
def _quietly(run: Callable[..., Any], *arguments: Any) -> Any:
    """Infinities and NaN pass without warnings, as in PyTorch."""
    return run(*arguments)


def _numpy_form(op: Op, direction: str, algorithm: str | None) -> Callable[..., Any]:
    """The bound method to run; `algorithm` "definition" is the obvious one."""
    forms = op.numpy_forms
    run = forms.get((direction, algorithm))
    if run is None:
        for name in (algorithm,) if algorithm else (*op.cpu, "definition"):
            attribute = direction if name == "definition" else f"{direction}_{name}"
            run = getattr(op, attribute, None)
            if run is not None:
                break
        else:
            raise ValueError(f"{op.name}: has no {direction} named {algorithm!r}; has {op.cpu}")
        forms[direction, algorithm] = run
    return run


class MetaArray(NamedTuple):
    """An array without values: what lives on the meta device."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return Spec(self.shape, self.dtype).size


class Meta(Device):
    """Shapes only: VGG's summary without VGG's memory.

    multiply_adds: how many the operators that ran here would have done, counted up for ever.
    """

    name = "meta"
    multiply_adds = 0

    def asarray(self, array: Any) -> Array:
        return MetaArray(tuple(array.shape), array.dtype)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        raise ValueError(
            "a tensor on the meta device has no values; build the model on cpu instead"
        )

    def forward(
        self,
        op: Op,
        specs: tuple[Spec | None, ...],
        arrays: tuple[Array | None, ...],
        algorithm: str | None = None,
    ) -> tuple[Array, ...]:
        outputs = op.infer_cached(specs)
        self.multiply_adds += op.cost(*specs).multiply_adds
        return tuple(MetaArray(s.shape, s.dtype) for s in outputs)

    def backward(
        self,
        op: Op,
        dys: tuple[Array | None, ...],
        saved: Any,
        needs: tuple[bool, ...],
        algorithm: str | None = None,
    ) -> tuple[Array | None, ...]:
        return tuple(
            MetaArray(s.shape, s.dtype) if n and s is not None else None
            for s, n in zip(saved.specs, needs, strict=True)
        )


class NativeDevice(Device):
    """A device that runs hand-written kernels: the emulator on NumPy arrays, CUDA on CuPy's.

    copies: how many inputs had to be rearranged because a kernel wants another memory order.
    allocate: makes the arrays that kernels write; tests replace it to poison and guard them.
    """

    copies = 0
    precision: ClassVar[str] = "highest"  # of float32 products, on all devices alike
    module: ModuleType

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

    def forward(
        self,
        op: Op,
        specs: tuple[Spec | None, ...],
        arrays: tuple[Array | None, ...],
        algorithm: str | None = None,
    ) -> tuple[Array, ...]:
        if not op.kernels:
            return _quietly(op.forward, self.xp, *arrays)  # type: ignore[no-any-return]
        values = dict(zip(op.inputs, arrays, strict=True))
        results = dict(zip(op.outputs, op.infer_cached(specs), strict=True))
        call = self._plan(op, "forward", algorithm, specs, None, values, results)
        made = call(self, values, results)
        return tuple(made[name] for name in op.outputs)

    def backward(
        self,
        op: Op,
        dys: tuple[Array | None, ...],
        saved: Any,
        needs: tuple[bool, ...],
        algorithm: str | None = None,
    ) -> tuple[Array | None, ...]:
        if not op.kernels:
            return _quietly(op.backward, self.xp, dys, saved, needs)  # type: ignore[no-any-return]
        specs = saved.specs
        values = {f"d{name}": dy for name, dy in zip(op.outputs, dys, strict=True)}
        values.update(zip(op.saves, saved, strict=False))
        wanted = {
            f"d{name}": spec
            for name, spec, need in zip(op.inputs, specs, needs, strict=True)
            if need and spec is not None and is_floating(spec.dtype)
        }
        call = self._plan(op, "backward", algorithm, specs, needs, values, wanted)
        made = call(self, values, wanted)
        return tuple(made.get(f"d{name}") for name in op.inputs)

    def algorithms(self, op: Op, direction: str) -> tuple[str, ...]:
        """The hand-written algorithms of the operator that this device has."""
        schema = self.module.schema
        return tuple(a for a in op.kernels if f"{op.name}_{direction}_{a}" in schema)

    def _plan(
        self,
        op: Op,
        direction: str,
        algorithm: str | None,
        specs: Specs,
        needs: tuple[bool, ...] | None,
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
            plan = KernelCall(self.module, op, direction, chosen, specs)
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
        """What was recorded, else with tuning on the fastest, else what the operator prefers."""
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
            call = KernelCall(self.module, op, direction, candidate, specs)
            return median_seconds(lambda: call(self, values, results), self.synchronize)

        return choices.fastest(self.place, problem, candidates, seconds_of)

    def candidates(self, op: Op, direction: str, specs: Specs) -> list[Candidate]:
        """The kernels that can run the operator on such inputs as precisely as asked for: first
        the one that it prefers, then all tile shapes of each. Raises TypeError if there are none.
        """
        known = self.algorithms(op, direction)
        gpu = None if self.name == "emulator" else self.machine
        preferred = op.prefer(gpu, direction, NativeDevice.precision, known, *specs)
        fit = [a for a in preferred if self.takes(op, direction, a, specs)]
        exact = [a for a in fit if is_precise(op, a, specs, NativeDevice.precision)]
        if not fit:
            came = [f"{n} {s}" for n, s in zip(op.inputs, specs, strict=True) if s is not None]
            raise TypeError(
                f"{op.name}: no {direction} kernel on {self.name} takes {', '.join(came)}; it has "
                f"{known or 'none'} (use float32, or device='cpu')"
            )
        names = dict.fromkeys([fit[0], *exact])
        firsts = [Candidate(a) for a in names]
        shaped = [
            Candidate(a, v) for a in names for v in op.tile_shapes(direction, a, *specs) if v != 0
        ]
        return firsts + shaped

    def takes(self, op: Op, direction: str, algorithm: str, specs: Specs) -> bool:
        """Does the kernel take inputs of these dtypes, does the operator say that it supports them,
        and has this device what it needs?"""
        kinds = {p["name"]: p for p in self.module.schema[f"{op.name}_{direction}_{algorithm}"]}
        for name, spec in zip(op.inputs, specs, strict=True):
            p = kinds.get(name)
            if p and spec is not None and p["kind"] == "array" and p["dtype"] != spec.dtype.name:
                return False
        return op.supports(algorithm, *specs) and op.fits(self.machine, algorithm, *specs)

    def chosen(self, op: Op, direction: str, specs: Specs) -> Candidate | None:
        """What ran on such inputs, in this state of the choice; None if nothing did."""
        for key, plan in op.cache(self.name).items():
            now = NativeDevice.precision, choices.generation
            if (key[0], key[1], key[2], *key[4:]) == (direction, None, specs, *now):
                return plan.chosen  # type: ignore[no-any-return]
        return None

    @property
    def place(self) -> str:
        """Device, compiler and build: what measured times hold for."""
        raise TypeError

    @cached_property
    def machine(self) -> Machine:
        """What predictions of time are made for."""
        return H100


Specs = tuple[Spec | None, ...]

# The kinds of products that float32 operands may be given at each precision.
ALLOWED = {
    "highest": {"float32"},
    "high": {"float32", "tf32"},
    "medium": {"float32", "tf32", "bfloat16"},
}


def is_precise(op: Op, algorithm: str, specs: Specs, precision: str) -> bool:
    """Does the algorithm round float32 operands no further than the precision allows?"""
    first = next((s for s in specs if s is not None and is_floating(s.dtype)), None)
    if first is None or first.dtype != np.float32:
        return True
    return op.precision.get(algorithm, "float32") in ALLOWED[precision]


def describe_problem(op: Op, direction: str, specs: Specs, results: dict[str, Spec]) -> str:
    """Operator, fields, direction, shapes, dtypes, what is computed, and precision. Memory order
    needs no mention: each kernel takes one."""
    inputs = ", ".join(str(s) for s in specs)
    computed = ", ".join(results)
    return f"{op!r} {direction} ({inputs}) -> {computed}, {NativeDevice.precision}"


def build_of(module: ModuleType) -> str:
    """Names one build of a native module."""
    import hashlib
    from pathlib import Path

    content = Path(str(module.__file__)).read_bytes()
    return f"{module.nvcc or module.compiler}, build {hashlib.sha256(content).hexdigest()[:12]}"


class Emulator(NativeDevice):
    """The CUDA kernels, built for the host. GPUDL_SCHEDULE chooses the order of threads."""

    name = "emulator"

    def __init__(self) -> None:
        super().__init__()
        self.module = _native.load("emulator")
        self.module.set_schedule(int(os.environ.get("GPUDL_SCHEDULE", "0")))

    @cached_property
    def place(self) -> str:
        return f"emulator, {build_of(self.module)}"


class Cuda(NativeDevice):
    """NVIDIA GPUs, through CuPy's arrays, memory pool and streams."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.module = _native.load("cuda")
        try:
            import cupy
        except ImportError as error:
            raise ImportError(
                "the cuda device needs CuPy: pip install 'gpudl[cuda12]' or 'gpudl[cuda13]', "
                "as your driver's CUDA version is"
            ) from error
        self.xp = cupy
        self.index = int(name.partition(":")[2] or 0)
        self.name = name
        count = cupy.cuda.runtime.getDeviceCount()
        if self.index >= count:
            raise ValueError(f"device {name!r}: this machine has {count} GPUs, numbered from 0")

    def asarray(self, array: Any) -> Array:
        with self.xp.cuda.Device(self.index):
            return self.xp.asarray(array)

    def to_numpy(self, array: Array) -> np.ndarray[Any, Any]:
        return self.xp.asnumpy(array)  # type: ignore[no-any-return]

    def algorithms(self, op: Op, direction: str) -> tuple[str, ...]:
        """Those that this GPU can run: mma from compute capability 8.0 on, wgmma on 9.0 alone, and
        if the module was built for it."""
        capability = self.xp.cuda.Device(self.index).compute_capability
        known = super().algorithms(op, direction)
        if capability != "90" or "90a" not in self.module.archs:
            known = tuple(a for a in known if "wgmma" not in a)
        if int(capability) < 80:
            known = tuple(a for a in known if "mma" not in a)
        return known

    @cached_property
    def place(self) -> str:
        name = self.xp.cuda.runtime.getDeviceProperties(self.index)["name"].decode()
        return f"{name}, {build_of(self.module)}"

    @cached_property
    def machine(self) -> Machine:
        device = self.xp.cuda.Device(self.index)
        has = device.attributes
        shared = has["MaxSharedMemoryPerBlockOptin"]
        return machine_of(device.compute_capability, has["MultiProcessorCount"], shared)

    def prepare(self) -> None:
        self.module.set_device(self.index)
        self.module.set_stream(self.xp.cuda.get_current_stream().ptr)

    def synchronize(self) -> None:
        self.xp.cuda.get_current_stream().synchronize()


cpu = Cpu()
meta = Meta()


@cache
def _native_device(name: str) -> Device:
    return Emulator() if name == "emulator" else Cuda(name)


def device(name: str | Device) -> Device:
    """The device of this name: "cpu", "emulator", "cuda", "cuda:1" or "meta".

    Raises ImportError with what is missing and how to get it, ValueError for an unknown name.
    """
    if isinstance(name, Device):
        return name
    if name == "cpu":
        return cpu
    if name == "meta":
        return meta
    if not isinstance(name, str):
        raise TypeError(
            f"device: expected a name such as 'cpu' or 'cuda:0', got {type(name).__name__}"
        )
    kind, _, index = name.partition(":")
    if name == "emulator" or (kind == "cuda" and (not index or index.isdigit())):
        return _native_device("cuda" if name == "cuda:0" else name)
    raise ValueError(f"unknown device {name!r}; it must be cpu, emulator, cuda, cuda:N or meta")


def chosen(name: str | Device | None) -> Device:
    """The device of this name; without one that of the with statement, else the cpu."""
    if name is not None:
        return device(name)
    return _chosen.devices[-1] if _chosen.devices else cpu


def why_missing(name: str) -> str | None:
    """One sentence on why the device cannot be used and how to get it; None if it works."""
    try:
        device(name)
    except Exception as error:  # whatever a driver or CuPy raises is the reason to show
        return str(error)
    return None
