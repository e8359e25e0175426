"""Measures one row: gpudl and the peer on the same inputs, timed alternately, and their errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from gpudl.bench import accuracy, theirs
from gpudl.bench.ceilings import kind
from gpudl.bench.ours import Ours, algorithms, gradient, ran
from gpudl.bench.stand import Stand
from gpudl.bench.timing import HostClock, Loop, Timing, in_turns, ratio, rounded, sustained
from gpudl.bench.workload import Call, Procedure, Row, Workload

COLD = 100_000_000  # bytes of inputs to rotate through on a GPU, so that its cache is cold
MOST_SETS = 512
SECONDS, QUICK_SECONDS = 3.0, 0.5  # for all turns of a contender


class Variant(NamedTuple):
    """One row to measure."""

    suite: str
    work: Workload
    direction: str
    dtype: str
    precision: str

    def __str__(self) -> str:
        return f"{self.suite}/{self.work.name} {self.direction} {self.dtype} {self.precision}"


class Job(NamedTuple):
    """A variant, its inputs on the CPU, and one algorithm. requested: the algorithm to run, None to
    let the device choose (it prefers `algorithm`). dy: gradient of the first output."""

    variant: Variant
    algorithm: str
    requested: str | None
    arrays: tuple[Any, ...]
    dy: Any
    expected: dict[str, accuracy.Expected]

    @property
    def forward(self) -> bool:
        return self.variant.direction == "forward"


def workload(stand: Stand, variant: Variant) -> Iterator[Row]:
    """A row for the chosen algorithm, or one for each."""
    work, direction = variant.work, variant.direction.split()[0]
    specs = work.specs(variant.dtype)
    names = algorithms(stand.device, work.op, direction, specs)
    arrays = stand.arrays(work, variant.dtype)
    dy = None
    if direction == "backward":
        dy = gradient(work.op.infer(*specs)[0])
        expected = accuracy.expect_backward(work, arrays, dy, variant.direction)
    else:
        expected = accuracy.expect_forward(work, arrays)
    for algorithm in names if stand.settings.algorithms == "all" else names[:1]:
        requested = None if algorithm == names[0] else algorithm
        row = describe(variant, algorithm)
        row.update(_measured(stand, Job(variant, algorithm, requested, arrays, dy, expected)))
        row["chosen"] = requested is None
        if requested is None:
            row["algorithm"] = ran(stand.device, work.op, direction, specs) or algorithm
        yield row
        stand.clock.free()


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


def _measured(stand: Stand, job: Job) -> Row:
    clock, variant = stand.clock, job.variant
    cost = variant.work.cost(variant.direction, variant.dtype)
    contenders, errors, failed = _contenders(stand, job, _sets(stand, cost.bytes))
    loops = {
        name: clock.shortened(clock.loop(calls), calls, peer=name != "gpudl")
        for name, calls in contenders.items()
    }
    times = in_turns(
        loops, clock, stand.settings.turns, QUICK_SECONDS if stand.settings.quick else SECONDS
    )
    row = results(times)
    row["error"] = {n: None if e is None else rounded(e) for n, e in errors.items()}
    row["timing"] = {name: loop.how for name, loop in loops.items()}
    row["sets"] = len(contenders["gpudl"])
    row["rotated_mb"] = rounded(row["sets"] * cost.bytes / 1e6)
    if failed:
        row["peer_failed"] = failed
    if stand.settings.sustained:
        row["sustained"] = {
            name: rounded(sustained(loop, clock, times[name].median, stand.settings.sustained))
            for name, loop in loops.items()
        }
    ours = times["gpudl"].median
    rate(row, cost.flops, cost.bytes, ours)
    fraction = stand.ceilings.fraction(cost, kind(variant.dtype, variant.precision), ours)
    if fraction is not None:
        row["roofline"] = rounded(fraction)
    return row


def _sets(stand: Stand, moved: int) -> int:
    if stand.kind != "cuda":
        return 1
    return max(1, min(MOST_SETS, math.ceil(COLD / max(moved, 1))))


Contenders = dict[str, list[Call]]
Errors = dict[str, float | None]


def _contenders(stand: Stand, job: Job, sets: int) -> tuple[Contenders, Errors, str]:
    """Calls by contender, one for each set of inputs; the error of each contender's first call; and
    why a peer failed, which must not lose our row."""
    variant, work = job.variant, job.variant.work
    forward = algorithms(stand.device, work.op, "forward", work.specs(variant.dtype))[0]
    first = job.algorithm if job.forward else forward
    mine = [Ours(work, stand.device, job.arrays, first) for _ in range(sets)]
    if job.forward:
        calls: Contenders = {"gpudl": [m.forward(job.requested) for m in mine]}
    else:
        backward = variant.direction, job.requested, job.algorithm, job.dy
        calls = {"gpudl": [m.backward(*backward) for m in mine]}
    output = calls["gpudl"][0]()
    if work.op.outputs or not job.forward:
        errors = {"gpudl": accuracy.worst(job.expected, _named(variant, "gpudl", output))}
    else:  # an update: its results are the inputs that it mutates
        changed = dict(zip(work.op.inputs, mine[0].inputs, strict=True))
        errors = {"gpudl": accuracy.worst(job.expected, changed)}
    failed = ""
    for name in _peers(stand):
        try:
            peer_calls = _peer_calls(stand, job, mine, compiled=name != "torch")
            if peer_calls:
                output = peer_calls[0]()
                errors[name] = accuracy.worst(job.expected, _named(variant, name, output))
                calls[name] = peer_calls
        except Exception as error:
            failed = f"{name}: {type(error).__name__}: {error}"[:300]
    return calls, errors, failed


def _peers(stand: Stand) -> tuple[str, ...]:
    if stand.torch is None:
        return ()
    return ("torch", "torch compiled") if stand.settings.compile else ("torch",)


def _peer_calls(stand: Stand, job: Job, mine: list[Ours], compiled: bool) -> list[Call]:
    """Empty if PyTorch has no counterpart."""
    torch, variant, work = stand.torch, job.variant, job.variant.work
    run = theirs.function(torch, work, compiled)
    tensors = [theirs.tensors(torch, work, m.inputs) for m in mine]
    if run is None:
        if work.peer is None or compiled or not job.forward:
            return []
        return [work.peer(torch, *inputs) for inputs in tensors]
    if job.forward:
        return [theirs.forward(torch, run, inputs) for inputs in tensors]
    needs = work.needs(variant.direction)
    return [
        theirs.backward(torch, run, inputs, needs, m.arranged_dy)
        for inputs, m in zip(tensors, mine, strict=True)
    ]


def _named(variant: Variant, side: str, results: Any) -> dict[str, Any]:
    """Results by name: of the output, or of the input that a gradient belongs to."""
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


def procedure(stand: Stand, suite: str, item: Procedure) -> Row:
    """A row of wall times per call, launches included."""
    calls = item.sides(stand.device.name, stand.torch)
    clock = HostClock(stand.clock.wait)
    loops = {name: Loop(call) for name, call in calls.items()}
    seconds = 2 * QUICK_SECONDS if stand.settings.quick else SECONDS
    times = in_turns(loops, clock, stand.settings.turns, seconds)
    row: Row = {"suite": suite, "name": item.name, "direction": "step", "dtype": "float32"}
    row["precision"] = stand.settings.precisions[0]
    row.update(results(times))
    row["timing"] = dict.fromkeys(calls, "wall")
    if stand.settings.sustained:
        row["sustained"] = {
            n: rounded(sustained(loop, clock, times[n].median, stand.settings.sustained))
            for n, loop in loops.items()
        }
    if item.errors is not None:
        errors = item.errors(stand.device.name, stand.torch)
        row["error"] = {name: rounded(e) for name, e in errors.items()}
    median = times["gpudl"].median
    if item.items:
        row["items_per_second"] = rounded(item.items / median)
    if item.cost is not None:
        row.update(flops=item.cost.flops, bytes=item.cost.bytes)
        rate(row, item.cost.flops, item.cost.bytes, median)
    return row


def results(times: dict[str, Timing]) -> Row:
    """Seconds, and the ratio to the fastest peer."""
    row: Row = {"seconds": {name: t.as_dict() for name, t in times.items()}}
    peers = {name: t for name, t in times.items() if name != "gpudl"}
    if peers:
        best = min(peers, key=lambda name: peers[name].median)
        row["ratio"] = ratio(peers[best], times["gpudl"]).as_dict()
        row["peer"] = best
    return row


def rate(row: Row, flops: int, moved: int, seconds: float) -> None:
    row["tflops"] = rounded(flops / seconds / 1e12)
    row["gbytes_per_second"] = rounded(moved / seconds / 1e9)
