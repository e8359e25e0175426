"""Measures workloads in every direction, dtype, precision and algorithm, next to PyTorch."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from gpudl.bench import measure
from gpudl.bench.stand import Settings as Settings
from gpudl.bench.stand import Stand
from gpudl.bench.workload import Procedure, Row, Workload

EMULATOR_MOST = 2_000_000  # operations; with more, the emulator takes too long


@dataclass
class Bench(Stand):
    """A stand that measures whole suites. left_out: the rows not measured, and why."""

    left_out: list[dict[str, str]] = field(default_factory=list)

    def suite(self, name: str, items: Iterable[Workload | Procedure]) -> Iterator[Row]:
        """Yields the rows of a suite as they are measured; `left_out` lists the others."""
        begin, lost = time.monotonic(), ""
        budget = self.settings.budget or math.inf
        for item in items:
            for variant in self._variants(name, item):
                if time.monotonic() - begin > budget:
                    self._leave_out(variant, "no time left")
                    continue
                if lost:
                    self._leave_out(variant, lost)
                    continue
                try:
                    yield from self._measured(name, variant)
                except (TypeError, ImportError) as refusal:  # no kernel or no such dtype
                    self._leave_out(variant, str(refusal))
                except Exception as error:  # one failed row must not lose the others
                    self._leave_out(variant, f"{type(error).__name__}: {error}")
                    lost = self._device_lost()
            self.clock.free()

    def _device_lost(self) -> str:
        """Why nothing can run any more, "" if it can: an illegal memory access makes the device
        unusable for the whole process. Also frees the memory of the failed row."""
        try:
            self.clock.wait()
            self.clock.free()
        except Exception as error:
            return f"the device is lost: {error}"
        return ""

    def _measured(self, suite: str, variant: measure.Variant | Procedure) -> Iterator[Row]:
        with self.clock.active():
            if isinstance(variant, Procedure):
                with self.at_precision(self.settings.precisions[0]):
                    yield measure.procedure(self, suite, variant)
                return
            with self.at_precision(variant.precision):
                self.ceilings.add(variant.dtype, variant.precision)
                yield from measure.workload(self, variant)

    def _variants(self, suite: str, item: Workload | Procedure) -> Iterator[Any]:
        s = self.settings
        if isinstance(item, Procedure):
            if not s.only or re.search(s.only, f"{suite}/{item.name}"):
                yield item
            return
        for dtype in s.dtypes if item.has_dtype else s.dtypes[:1]:
            for precision in s.precisions if dtype == "float32" else s.precisions[:1]:
                for direction in item.directions:
                    variant = measure.Variant(suite, item, direction, dtype, precision)
                    if s.only and not re.search(s.only, f"{suite}/{item.name} {direction}"):
                        continue
                    if reason := self._too_big(variant):
                        self._leave_out(variant, reason)
                    else:
                        yield variant

    def _too_big(self, variant: measure.Variant) -> str | None:
        cost = variant.work.cost("forward", variant.dtype)
        if self.kind == "emulator" and cost.flops > EMULATOR_MOST:
            return "too much work for the emulator"
        if self.kind == "cpu" and cost.bytes * 6 > memory():
            return "too little memory"
        return None

    def _leave_out(self, variant: measure.Variant | Procedure, reason: str) -> None:
        name = variant.name if isinstance(variant, Procedure) else str(variant)
        self.left_out.append({"workload": name, "reason": " ".join(reason.split())[:300]})


def memory() -> int:
    """Physical memory of the machine in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
