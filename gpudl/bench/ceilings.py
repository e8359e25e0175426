"""The roofline of this machine, measured first: one large copy and large matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl.bench import theirs
from gpudl.bench.ours import Ours, algorithms
from gpudl.bench.timing import Clock, Loop, in_turns
from gpudl.bench.workload import Workload
from gpudl.core.choice import tune
from gpudl.core.op import Cost
from gpudl.devices.find import Device
from gpudl.ops.matrix.matmul import MatmulOp

COPIED = {"cuda": 1 << 30, "cpu": 1 << 27, "emulator": 1 << 20}  # bytes of the copy
SIDES = {"cuda": 8192, "cpu": 1024, "emulator": 48}  # rows of the square matrices


def kind(dtype: str, precision: str) -> str:
    """The name of a ceiling: the dtype, for float32 with the precision of products."""
    return f"{dtype} {precision}" if dtype == "float32" else dtype


class Ceilings:
    """Bytes per second of the copy (read and written), operations per second of the products: the
    better of gpudl and the peer."""

    def __init__(self, device: Device, clock: Clock, torch: Any) -> None:
        self.device, self.clock, self.torch = device, clock, torch
        self.flops: dict[str, float] = {}
        self.bytes = self._copy()

    def fraction(self, cost: Cost, rate: str, seconds: float) -> float | None:
        """The roofline's lower bound on the time, over the measured time."""
        flops = self.flops.get(rate)
        if flops is None or seconds <= 0:
            return None
        return max(cost.flops / flops, cost.bytes / self.bytes) / seconds

    def as_dict(self) -> dict[str, Any]:
        flops = {name: round(value / 1e12, 4) for name, value in self.flops.items()}
        return {"gbytes_per_second": round(self.bytes / 1e9, 2), "tflops": flops}

    def add(self, dtype: str, precision: str) -> None:
        """Measures products of this kind, once. Kinds without a product have no ceiling."""
        name = kind(dtype, precision)
        if name in self.flops:
            return
        n = SIDES[self._kind()]
        work = Workload("product", MatmulOp.of(False, False), ((n, n), (n, n)))
        loops = {}
        try:
            specs = work.specs(dtype)
            algorithm = algorithms(self.device, work.op, "forward", specs)[0]
            mine = Ours(work, self.device, work.arrays(dtype), algorithm)
            loops["gpudl"] = Loop(mine.forward(None))
            if self.torch is not None:
                a, b = theirs.tensors(self.torch, work, mine.inputs)
                loops["torch"] = Loop(lambda: a @ b)
            with tune(False):  # the user did not ask to tune this problem
                times = in_turns(loops, self.clock, turns=5, budget=2)
        except Exception:  # no kernel or no memory: rows of this kind have no ceiling
            return
        finally:
            self.clock.free()
        self.flops[name] = 2 * n**3 / min(t.median for t in times.values())

    def _copy(self) -> float:
        size = COPIED[self._kind()]
        xp = self.device.xp
        source = self.device.asarray(np.arange(size // 8))  # int64
        target = xp.empty_like(source)
        loops = {"gpudl": Loop(lambda: xp.copyto(target, source))}
        if self.torch is not None:
            a, b = (theirs.tensor(self.torch, array) for array in (target, source))
            loops["torch"] = Loop(lambda: a.copy_(b))
        times = in_turns(loops, self.clock, turns=5, budget=1)
        return 2 * size / min(t.median for t in times.values())

    def _kind(self) -> str:
        return self.device.name.partition(":")[0]
