"""The roofline of this machine, measured before anything else: a big copy and big products."""

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

COPIED = {"cuda": 1 << 30, "cpu": 1 << 27, "emulator": 1 << 20}  # bytes
SIDES = {"cuda": 8192, "cpu": 1024, "emulator": 48}  # of the square matrices


def kind(dtype: str, precision: str) -> str:
    """What a rate of operations is measured for: float32 has one for each precision."""
    return f"{dtype} {precision}" if dtype == "float32" else dtype


class Ceilings:
    """Bytes a second of the copy (read and written), operations a second of the products: the best
    of ours and the peer's."""

    def __init__(self, where: Device, clock: Clock, torch: Any) -> None:
        self.where, self.clock, self.torch = where, clock, torch
        self.flops: dict[str, float] = {}
        self.bytes = self._copy()

    def fraction(self, cost: Cost, rate: str, seconds: float) -> float | None:
        """The least time by the roofline over the measured one."""
        flops = self.flops.get(rate)
        if flops is None or seconds <= 0:
            return None
        return max(cost.flops / flops, cost.bytes / self.bytes) / seconds

    def as_dict(self) -> dict[str, Any]:
        flops = {name: round(value / 1e12, 4) for name, value in self.flops.items()}
        return {"gbytes_per_second": round(self.bytes / 1e9, 2), "tflops": flops}

    def add(self, dtype: str, precision: str) -> None:
        """Measures products of this kind, once. A kind that nobody multiplies has no ceiling."""
        name = kind(dtype, precision)
        if name in self.flops:
            return
        n = SIDES[self._device()]
        work = Workload("product", MatmulOp.of(False, False), ((n, n), (n, n)))
        loops = {}
        try:
            specs = work.specs(dtype)
            algorithm = algorithms(self.where, work.op, "forward", specs)[0]
            mine = Ours(work, self.where, work.arrays(dtype), algorithm)
            loops["gpudl"] = Loop(mine.forward(None))
            if self.torch is not None:
                a, b = theirs.tensors(self.torch, work, mine.inputs)
                loops["torch"] = Loop(lambda: a @ b)
            with tune(False):  # not a problem that the user asked about
                times = in_turns(loops, self.clock, turns=5, budget=2)
        except Exception:  # no kernel, no room: then rows of this kind have no ceiling
            return
        finally:
            self.clock.free()
        self.flops[name] = 2 * n**3 / min(t.median for t in times.values())

    def _copy(self) -> float:
        size = COPIED[self._device()]
        xp = self.where.xp
        source = self.where.asarray(np.arange(size // 8))  # int64
        target = xp.empty_like(source)
        loops = {"gpudl": Loop(lambda: xp.copyto(target, source))}
        if self.torch is not None:
            a, b = (theirs.tensor(self.torch, array) for array in (target, source))
            loops["torch"] = Loop(lambda: a.copy_(b))
        times = in_turns(loops, self.clock, turns=5, budget=1)
        return 2 * size / min(t.median for t in times.values())

    def _device(self) -> str:
        return self.where.name.partition(":")[0]
