"""Finds devices by name.

cpu runs an operator's NumPy definition or a faster NumPy form, emulator and cuda run its
hand-written kernels (one source, built twice), meta only infers shapes. Each has a module here.
"""

from __future__ import annotations

from functools import cache

from gpudl.devices.base import Device as Device
from gpudl.devices.base import entered
from gpudl.devices.cpu import Cpu as Cpu
from gpudl.devices.cuda import Cuda as Cuda
from gpudl.devices.emulator import Emulator as Emulator
from gpudl.devices.meta import Meta as Meta
from gpudl.devices.meta import MetaArray as MetaArray
from gpudl.devices.native import NativeDevice as NativeDevice

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
    """The device of this name; for None that of the with statement, otherwise the cpu."""
    if name is not None:
        return device(name)
    return entered.devices[-1] if entered.devices else cpu


def why_missing(name: str) -> str | None:
    """Why the device is unavailable and how to get it, in one sentence; None if it works."""
    try:
        device(name)
    except Exception as error:  # show whatever the driver or CuPy raised
        return str(error)
    return None
