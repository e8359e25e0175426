"""Measures workloads: every direction, dtype, precision and algorithm, beside PyTorch."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gpudl.bench import accuracy, theirs
from gpudl.bench.ceilings import Ceilings, kind
from gpudl.bench.ours import Ours, algorithms, gradient, ran
from gpudl.bench.timing import Clock, HostClock, Loop, Timing, in_turns, ratio, rounded, sustained
from gpudl.bench.workload import Procedure, Workload
from gpudl.device import Device, NativeDevice
from gpudl.device import device as find_device

COLD = 100_000_000  # bytes that inputs rotate through on a GPU, so that none are found in its cache
MOST_SETS = 64
EMULATOR_MOST = 2_000_000  # operations: beyond, the emulator takes too long

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What to measure and how long."""

    device: str = "cpu"
    threads: int = 1
    dtypes: tuple[str, ...] = ("float32",)
    precisions: tuple[str, ...] = ("highest",)
    algorithms: str = "chosen"  # or "all"
    only: str | None = None  # a regular expression over "suite/name direction"
    quick: bool = False
    sustained: float = 0.0  # seconds
    budget: float | None = None  # seconds for a suite
    turns: int = 15
    peer: bool = True
    compile: bool = False  # torch.compile as a third contender


class Variant(NamedTuple):
    """One row to measure."""

    suite: str
    work: Workload
    direction: str
    dtype: str
    precision: str

    def __str__(self) -> str:
        return f"{self.suite}/{self.work.name} {self.direction} {self.dtype} {self.precision}"


@dataclass
class Bench:
    """A device with its clock, its peer and its ceilings, measured when first asked for."""

    settings: Settings
    left_out: list[dict[str, str]] = field(default_factory=list)
    peer_settings: dict[str, Any] = field(default_factory=dict)
    _drawn: tuple[Workload, str, tuple[Any, ...]] | None = None

    def __post_init__(self) -> None:
        from gpudl.train import blas

        s = self.settings
        self.torch = theirs.load(s.threads) if s.peer else None
        blas.set_threads(s.threads)
        self.where: Device = find_device(s.device)
        self.kind = self.where.name.partition(":")[0]
        if self.kind == "emulator":
            self.torch = None
        if self.kind == "cuda" and self.torch is not None and not self.torch.cuda.is_available():
            self.torch = None
        self.clock = self._clock()
        with self.clock.active():
            self.ceilings = Ceilings(self.where, self.clock, self.torch)

    def _clock(self) -> Clock:
        if self.kind != "cuda":
            return HostClock(self.where.synchronize)
        from gpudl.bench.cuda_clock import CudaClock

        return CudaClock(int(self.where.name.partition(":")[2] or 0), self.torch)

    def suite(self, name: str, items: Iterable[Workload | Procedure]) -> Iterator[Row]:
        """Rows of a suite, each when it is measured. What was not measured is in `left_out`."""
        begin, broken = time.monotonic(), ""
        budget = self.settings.budget or math.inf
        for item in items:
            for variant in self._variants(name, item):
                if time.monotonic() - begin > budget:
                    self._leave_out(variant, "no time left")
                    continue
                if broken:
                    self._leave_out(variant, broken)
                    continue
                try:
                    yield from self._measured(name, variant)
                except (TypeError, ImportError) as refusal:  # no kernel for it, no such dtype
                    self._leave_out(variant, str(refusal))
                except Exception as error:  # a failure of one row must not lose the others
                    self._leave_out(variant, f"{type(error).__name__}: {error}")
                    broken = self._broken()
            self.clock.free()

    def _broken(self) -> str:
        """Why nothing can run any more, "" if it can: a kernel that read a wrong address takes the
        whole process's device with it. Memory of the failed row is given back."""
        try:
            self.clock.wait()
            self.clock.free()
        except Exception as error:
            return f"the device is lost: {error}"
        return ""

    def _measured(self, suite: str, variant: Variant | Procedure) -> Iterator[Row]:
        with self.clock.active():
            if isinstance(variant, Procedure):
                with self._precision(self.settings.precisions[0]):
                    yield measure_procedure(self, suite, variant)
                return
            with self._precision(variant.precision):
                self.ceilings.add(variant.dtype, variant.precision)
                yield from measure_workload(self, variant)

    def _variants(self, suite: str, item: Workload | Procedure) -> Iterator[Any]:
        s = self.settings
        if isinstance(item, Procedure):
            if not s.only or re.search(s.only, f"{suite}/{item.name}"):
                yield item
            return
        for dtype in s.dtypes if item.has_dtype else s.dtypes[:1]:
            for precision in s.precisions if dtype == "float32" else s.precisions[:1]:
                for direction in item.directions:
                    variant = Variant(suite, item, direction, dtype, precision)
                    if s.only and not re.search(s.only, f"{suite}/{item.name} {direction}"):
                        continue
                    if reason := self._too_big(variant):
                        self._leave_out(variant, reason)
                    else:
                        yield variant

    def _too_big(self, variant: Variant) -> str | None:
        cost = variant.work.cost("forward", variant.dtype)
        if self.kind == "emulator" and cost.flops > EMULATOR_MOST:
            return "too much work for the emulator"
        if self.kind == "cpu" and cost.bytes * 6 > memory():
            return "too little memory"
        return None

    @contextmanager
    def _precision(self, precision: str) -> Iterator[None]:
        before = NativeDevice.precision
        NativeDevice.precision = precision
        if self.torch is not None:
            self.peer_settings.update(theirs.configure(self.torch, precision))
        try:
            yield
        finally:
            NativeDevice.precision = before

    def _leave_out(self, variant: Variant | Procedure, reason: str) -> None:
        name = variant.name if isinstance(variant, Procedure) else str(variant)
        self.left_out.append({"workload": name, "reason": " ".join(reason.split())[:300]})

    def arrays(self, work: Workload, dtype: str) -> tuple[Any, ...]:
        """The inputs of a workload; those of the last one are kept for its other directions."""
        if self._drawn is None or self._drawn[:2] != (work, dtype):
            self._drawn = None
            self._drawn = work, dtype, work.arrays(dtype)
        return self._drawn[2]

    def timed(self, loops: dict[str, Loop]) -> dict[str, Timing]:
        budget = 0.5 if self.settings.quick else 3.0
        return in_turns(loops, self.clock, self.settings.turns, budget)


def memory() -> int:
    """Bytes of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def measure_workload(bench: Bench, variant: Variant) -> Iterator[Row]:
    """One row for the chosen algorithm, or for each."""
    work, direction = variant.work, variant.direction.split()[0]
    specs = work.specs(variant.dtype)
    names = algorithms(bench.where, work.op, direction, specs)
    asked = names if bench.settings.algorithms == "all" else names[:1]
    arrays = bench.arrays(work, variant.dtype)
    dy = None
    if direction == "backward":
        dy = gradient(work.op.infer(*specs)[0])
        expected = accuracy.expect_backward(work, arrays, dy, variant.direction)
    else:
        expected = accuracy.expect_forward(work, arrays)
    for algorithm in asked:
        row = describe(variant, algorithm)
        row["chosen"] = algorithm == names[0]
        row.update(_measure(bench, variant, algorithm, arrays, dy, expected))
        if row["chosen"]:
            row["algorithm"] = ran(bench.where, work.op, direction, specs) or algorithm
        yield row
        bench.clock.free()


def describe(variant: Variant, algorithm: str) -> Row:
    work = variant.work
    cost = work.cost(variant.direction, variant.dtype)
    return {
        "suite": variant.suite,
        "name": work.name,
        "operator": work.op.name,
        "direction": variant.direction,
        "dtype": variant.dtype,
        "precision": variant.precision,
        "algorithm": algorithm,
        "inputs": [None if s is None else str(s) for s in work.specs(variant.dtype)],
        "flops": cost.flops,
        "bytes": cost.bytes,
    }


def _measure(
    bench: Bench,
    variant: Variant,
    algorithm: str,
    arrays: tuple[Any, ...],
    dy: Any,
    expected: dict[str, accuracy.Expected],
) -> Row:
    contenders, errors = _contenders(bench, variant, algorithm, arrays, dy, expected)
    loops = {name: bench.clock.loop(calls, name != "gpudl") for name, calls in contenders.items()}
    loops = {
        name: bench.clock.shortened(loop, contenders[name], name != "gpudl")
        for name, loop in loops.items()
    }
    times = bench.timed(loops)
    row = results(times)
    row["error"] = {n: None if e is None else rounded(e) for n, e in errors.items()}
    row["timing"] = {name: loop.how for name, loop in loops.items()}
    row["sets"] = len(contenders["gpudl"])
    if bench.settings.sustained:
        row["sustained"] = {
            name: rounded(sustained(loop, bench.clock, times[name].median, _seconds(bench)))
            for name, loop in loops.items()
        }
    cost = variant.work.cost(variant.direction, variant.dtype)
    rate(row, cost.flops, cost.bytes, times["gpudl"].median)
    name = kind(variant.dtype, variant.precision)
    fraction = bench.ceilings.fraction(cost, name, times["gpudl"].median)
    if fraction is not None:
        row["roofline"] = rounded(fraction)
    return row


def _seconds(bench: Bench) -> float:
    return bench.settings.sustained


def _contenders(
    bench: Bench,
    variant: Variant,
    algorithm: str,
    arrays: tuple[Any, ...],
    dy: Any,
    expected: dict[str, accuracy.Expected],
) -> tuple[dict[str, list[Callable[[], Any]]], dict[str, float | None]]:
    """Calls by contender, one for each set of inputs, and the errors of the first call of each."""
    work, op = variant.work, variant.work.op
    forward = variant.direction == "forward"
    count = _sets(bench, work.cost(variant.direction, variant.dtype).bytes)
    specs, direction = work.specs(variant.dtype), variant.direction.split()[0]
    first = algorithms(bench.where, op, "forward", specs)[0]
    asked = None if algorithm == algorithms(bench.where, op, direction, specs)[0] else algorithm
    mine = [Ours(work, bench.where, arrays, algorithm if forward else first) for _ in range(count)]
    calls: dict[str, list[Callable[[], Any]]] = {}
    if forward:
        calls["gpudl"] = [m.forward(asked) for m in mine]
    else:
        calls["gpudl"] = [m.backward(variant.direction, asked, algorithm, dy) for m in mine]
    peers = [theirs.Theirs(bench.torch, work, m.inputs) for m in mine] if bench.torch else []
    for name in ("torch", "torch compiled") if bench.settings.compile else ("torch",):
        made = []
        for m, peer in zip(mine, peers, strict=False):
            compiled = name != "torch"
            call = (
                peer.forward(compiled)
                if forward
                else peer.backward(variant.direction, m.arranged_dy, compiled)
            )
            made.append(call)
        if made and all(made):
            calls[name] = [c for c in made if c is not None]
    errors = {
        name: accuracy.worst(expected, _named(variant, name, made[0]()))
        for name, made in calls.items()
    }
    if forward and not op.outputs:  # an update: its results are the inputs that it changed
        errors = {
            "gpudl": accuracy.worst(expected, dict(zip(op.inputs, mine[0].inputs, strict=True)))
        }
    return calls, errors


def _sets(bench: Bench, moved: int) -> int:
    if bench.kind != "cuda":
        return 1
    return max(1, min(MOST_SETS, math.ceil(COLD / max(moved, 1))))


def _named(variant: Variant, side: str, results: Any) -> dict[str, Any]:
    """Results by the names of the operator's outputs, or of the inputs that gradients are of."""
    op = variant.work.op
    if variant.direction == "forward":
        if not isinstance(results, tuple):
            results = (results,)
        return dict(zip(op.outputs, results, strict=False))
    if side == "gpudl":
        pairs = zip(op.inputs, results, strict=True)
        return {name: array for name, array in pairs if array is not None}
    needs = variant.work.needs(variant.direction)
    wanted = [n for n, need in zip(op.inputs, needs, strict=True) if need]
    return dict(zip(wanted, results, strict=True))


def measure_procedure(bench: Bench, suite: str, procedure: Procedure) -> Row:
    """Wall time of a call, launches included."""
    calls = procedure.sides(bench.where.name, bench.torch)
    clock = HostClock(bench.clock.wait)
    budget = 1.0 if bench.settings.quick else 5.0
    times = in_turns({n: Loop(c) for n, c in calls.items()}, clock, bench.settings.turns, budget)
    row: Row = {"suite": suite, "name": procedure.name, "direction": "step", "dtype": "float32"}
    row["precision"] = bench.settings.precisions[0]
    row.update(results(times))
    row["timing"] = dict.fromkeys(calls, "wall")
    if bench.settings.sustained:
        row["sustained"] = {
            n: rounded(sustained(Loop(c), clock, times[n].median, _seconds(bench)))
            for n, c in calls.items()
        }
    median = times["gpudl"].median
    if procedure.items:
        row["items_per_second"] = rounded(procedure.items / median)
    if procedure.cost is not None:
        row.update(flops=procedure.cost.flops, bytes=procedure.cost.bytes)
        rate(row, procedure.cost.flops, procedure.cost.bytes, median)
    return row


def results(times: dict[str, Timing]) -> Row:
    """Seconds, and how the peer's best compares."""
    row: Row = {"seconds": {name: t.as_dict() for name, t in times.items()}}
    peers = {name: t for name, t in times.items() if name != "gpudl"}
    if peers:
        best = min(peers, key=lambda name: peers[name].median)
        compared = ratio(peers[best], times["gpudl"])._asdict()
        row["ratio"] = {n: rounded(v) for n, v in compared.items() if n != "samples"}
        row["peer"] = best
    return row


def rate(row: Row, flops: int, moved: int, seconds: float) -> None:
    row["tflops"] = rounded(flops / seconds / 1e12)
    row["gbytes_per_second"] = rounded(moved / seconds / 1e9)
