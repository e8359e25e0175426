"""The cuda device: NVIDIA GPUs."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from gpudl.core.launcher import Launcher
from gpudl.core.machine import Machine, machine_of
from gpudl.core.op import Array, Op
from gpudl.devices import modules
from gpudl.devices.native import NativeDevice, build_of


class Cuda(NativeDevice):
    """NVIDIA GPUs, through CuPy's arrays, memory pool and streams."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.module, self.launchers = modules.load("cuda"), modules.launchers("cuda")
        try:
            import cupy
        except ImportError as error:
            raise ImportError(
                "the cuda device needs CuPy: pip install 'gpudl[cuda12]' or 'gpudl[cuda13]', "
                "matching your driver's CUDA version"
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

    def address(self, array: Array) -> int:
        return array.data.ptr  # type: ignore[no-any-return]

    def kernels(self, op: Op, direction: str) -> tuple[Launcher, ...]:
        """The kernels that this GPU can run: mma from compute capability 8.0 on, wgmma only on 9.0
        and if the module was built for it."""
        capability = self.xp.cuda.Device(self.index).compute_capability
        units = {"simt"}
        if int(capability) >= 80:
            units.add("mma")
        if capability == "90" and "90a" in self.module.archs:
            units.add("wgmma")
        return tuple(k for k in super().kernels(op, direction) if k.computes.unit in units)

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
