"""Devices: where arrays live and how an operator runs there, behind one protocol.

cpu runs an operator's NumPy definition (or a faster NumPy form beside it), emulator and cuda run
its hand-written kernels (one source, built twice), meta only infers shapes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from gpudl import _native
from gpudl.op import Array, Op, Spec, is_floating

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


class Device:
    """A place for arrays. name: "cpu", "emulator", "cuda", "cuda:1" or "meta"."""

    name: str
    xp: Any = np

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
        call = self._plan(op, "forward", algorithm, specs)
        values = dict(zip(op.inputs, arrays, strict=True))
        results = dict(zip(op.outputs, op.infer_cached(specs), strict=True))
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
        call = self._plan(op, "backward", algorithm, specs)
        values = {f"d{name}": dy for name, dy in zip(op.outputs, dys, strict=True)}
        values.update(zip(op.saves, saved, strict=False))
        wanted = {
            f"d{name}": spec
            for name, spec, need in zip(op.inputs, specs, needs, strict=True)
            if need and spec is not None and is_floating(spec.dtype)
        }
        made = call(self, values, wanted)
        return tuple(made.get(f"d{name}") for name in op.inputs)

    def algorithms(self, op: Op, direction: str) -> tuple[str, ...]:
        """The hand-written algorithms of the operator that this device has."""
        schema = self.module.schema
        return tuple(a for a in op.kernels if f"{op.name}_{direction}_{a}" in schema)

    def _plan(
        self, op: Op, direction: str, algorithm: str | None, specs: tuple[Spec | None, ...]
    ) -> KernelCall:
        plans = op.cache(self.name)
        key = (direction, algorithm, specs, NativeDevice.precision)
        plan = plans.get(key)
        if plan is None:
            name = algorithm or self._choose(op, direction, specs)
            plan = KernelCall(self.module, op, direction, name, specs)
            plans[key] = plan
        return plan

    def _choose(self, op: Op, direction: str, specs: tuple[Spec | None, ...]) -> str:
        """The kernel that the operator prefers of those that take these inputs."""
        known = self.algorithms(op, direction)
        for name in op.prefer(self.name, NativeDevice.precision, known, *specs):
            if takes(self.module, op, direction, name, specs):
                return name
        came = ", ".join(f"{n} {s}" for n, s in zip(op.inputs, specs, strict=True) if s is not None)
        raise TypeError(
            f"{op.name}: no {direction} kernel on {self.name} takes {came}; it has "
            f"{known or 'none'} (use float32, or device='cpu')"
        )


def takes(
    module: ModuleType, op: Op, direction: str, algorithm: str, specs: tuple[Spec | None, ...]
) -> bool:
    """Does the kernel take inputs of these dtypes, and does the operator say it supports them?"""
    kinds = {p["name"]: p for p in module.schema[f"{op.name}_{direction}_{algorithm}"]}
    for name, spec in zip(op.inputs, specs, strict=True):
        p = kinds.get(name)
        if p and spec is not None and p["kind"] == "array" and p["dtype"] != spec.dtype.name:
            return False
    return op.supports(algorithm, *specs)


class KernelCall:
    """One launcher with its arguments sorted out: which come from the caller, which are made here,
    which are the operator's fields."""

    def __init__(
        self,
        module: ModuleType,
        op: Op,
        direction: str,
        algorithm: str,
        specs: tuple[Spec | None, ...],
    ) -> None:
        self.name = f"{op.name}_{direction}_{algorithm}"
        self.launch = getattr(module, self.name)
        self.parameters = module.schema[self.name]
        self.fixed = op.parameters()
        self.mutates = op.mutates
        self.workspace = op.workspace(direction, algorithm, *specs)

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


class Emulator(NativeDevice):
    """The CUDA kernels, built for the host. GPUDL_SCHEDULE chooses the order of threads."""

    name = "emulator"

    def __init__(self) -> None:
        super().__init__()
        self.module = _native.load("emulator")
        self.module.set_schedule(int(os.environ.get("GPUDL_SCHEDULE", "0")))


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
            known = tuple(a for a in known if not a.startswith("wgmma"))
        if int(capability) < 80:
            known = tuple(a for a in known if not a.startswith("mma"))
        return known

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


def why_missing(name: str) -> str | None:
    """One sentence on why the device cannot be used and how to get it; None if it works."""
    try:
        device(name)
    except Exception as error:  # whatever a driver or CuPy raises is the reason to show
        return str(error)
    return None
