"""The test stand for workloads: a device with its clock, its peer and its ceilings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gpudl.bench import theirs
from gpudl.bench.ceilings import Ceilings
from gpudl.bench.timing import Clock, HostClock
from gpudl.bench.workload import Workload
from gpudl.devices.find import Device, NativeDevice
from gpudl.devices.find import device as find_device


@dataclass(frozen=True)
class Settings:
    """What to measure, and for how long."""

    device: str = "cpu"
    threads: int = 1
    dtypes: tuple[str, ...] = ("float32",)
    precisions: tuple[str, ...] = ("highest",)
    algorithms: str = "chosen"  # or "all"
    only: str | None = None  # a regular expression over "suite/name direction"
    quick: bool = False
    sustained: float = 0.0  # seconds
    budget: float | None = None  # seconds per suite
    turns: int = 15
    peer: bool = True
    compile: bool = False  # torch.compile as a third contender


@dataclass
class Stand:
    """A device with its clock, its peer and its ceilings."""

    settings: Settings
    peer_settings: dict[str, Any] = field(default_factory=dict)
    _drawn: tuple[Workload, str, tuple[Any, ...]] | None = None

    def __post_init__(self) -> None:
        from gpudl.train import blas

        s = self.settings
        self.torch = theirs.load(s.threads) if s.peer else None
        blas.set_threads(s.threads)
        self.device: Device = find_device(s.device)
        self.kind = self.device.name.partition(":")[0]
        if self.kind == "emulator":
            self.torch = None
        if self.kind == "cuda" and self.torch is not None and not self.torch.cuda.is_available():
            self.torch = None
        self.clock = self._clock()
        with self.clock.active():
            self.ceilings = Ceilings(self.device, self.clock, self.torch)

    def _clock(self) -> Clock:
        if self.kind != "cuda":
            return HostClock(self.device.synchronize)
        from gpudl.bench.cuda_clock import CudaClock

        return CudaClock(int(self.device.name.partition(":")[2] or 0), self.torch)

    @contextmanager
    def at_precision(self, precision: str) -> Iterator[None]:
        before = NativeDevice.precision
        NativeDevice.precision = precision
        if self.torch is not None:
            self.peer_settings[precision] = theirs.configure(self.torch, precision)
        try:
            yield
        finally:
            NativeDevice.precision = before

    def arrays(self, work: Workload, dtype: str) -> tuple[Any, ...]:
        """The inputs of a workload, cached until the next one: all its directions share them."""
        if self._drawn is None or self._drawn[:2] != (work, dtype):
            self._drawn = None
            self._drawn = work, dtype, work.arrays(dtype)
        return self._drawn[2]
