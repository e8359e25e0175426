"""The emulator: the CUDA kernels on the processor, with NumPy's arrays."""

from __future__ import annotations

import os
from functools import cached_property

from gpudl.devices import modules
from gpudl.devices.native import NativeDevice, build_of


class Emulator(NativeDevice):
    """The CUDA kernels, built for the host. GPUDL_SCHEDULE chooses the order of threads."""

    name = "emulator"

    def __init__(self) -> None:
        super().__init__()
        self.module, self.launchers = modules.load("emulator"), modules.launchers("emulator")
        self.module.set_schedule(int(os.environ.get("GPUDL_SCHEDULE", "0")))

    @cached_property
    def place(self) -> str:
        return f"emulator, {build_of(self.module)}"
