"""Each operator by itself, forward and backward, on the largest of its test cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpudl import Tensor, no_grad
from gpudl.bench.timing import Timing, in_turns
from gpudl.device import device as find_device
from gpudl.op import OPS, Case, Cost, Op, Spec, is_floating
from gpudl.tensor import apply
from gpudl.train import blas

LARGEST = 2  # cases of each operator
TURNS = 7
EMULATOR_MOST = 2_000_000  # operations of a case: beyond, the emulator takes too long


def bench_kernels(
    device: str, threads: int = 1, peer: bool = True, only: str | None = None
) -> Iterator[dict[str, Any]]:
    """One result per operator and case: seconds, GFLOP/s and GB/s by `Op.cost`, PyTorch's seconds.

    only: measure the operators whose name holds this.
    """
    blas.set_threads(threads)
    where = find_device(device)
    torch = _torch(threads) if peer and device == "cpu" else None
    for name, op_class in sorted(OPS.items()):
        if only is not None and only not in name:
            continue
        for case, arrays, cost in largest_cases(op_class):
            if device == "emulator" and cost.flops > EMULATOR_MOST:
                continue
            yield _bench_case(case, arrays, cost, where, torch)


def largest_cases(op_class: type[Op]) -> list[tuple[Case, tuple[Any, ...], Cost]]:
    """The cases with the most work that are not refusals, the largest first."""
    found = []
    for case in op_class.cases():
        if case.error is not None:
            continue
        arrays = case.make(np.random.default_rng(0))
        if any(a is not None and a.dtype == np.float64 for a in arrays):
            continue
        specs = tuple(None if a is None else Spec(a.shape, a.dtype) for a in arrays)
        found.append((case, arrays, case.op.cost(*specs)))
    found.sort(key=lambda entry: -(entry[2].flops + entry[2].bytes))
    return found[:LARGEST]


def _bench_case(
    case: Case, arrays: tuple[Any, ...], cost: Cost, where: Any, torch: Any
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "operator": case.op.name,
        "case": case.name,
        "inputs": [None if a is None else str(Spec(a.shape, a.dtype)) for a in arrays],
        "flops": cost.flops,
        "bytes": cost.bytes,
    }
    ours = {f"gpudl {k}": call for k, call in _ours(case, arrays, where).items()}
    theirs = {f"torch {k}": call for k, call in _theirs(case, arrays, torch).items()}
    times = in_turns({**ours, **theirs}, where.synchronize, TURNS)
    row["seconds"] = {name: timing.as_dict() for name, timing in times.items()}
    forward: Timing = times["gpudl forward"]
    row["gflops"] = round(cost.flops / forward.median / 1e9, 3)
    row["gbytes_per_second"] = round(cost.bytes / forward.median / 1e9, 3)
    if "torch forward" in times:
        row["times_torch"] = round(forward.median / times["torch forward"].median, 3)
    return row


def _ours(case: Case, arrays: tuple[Any, ...], where: Any) -> dict[str, Callable[[], Any]]:
    op = case.op
    tensors = [None if a is None else Tensor(a.copy(), device=where) for a in arrays]

    def forward() -> Any:
        with no_grad():
            return apply(op, *tensors)

    calls: dict[str, Callable[[], Any]] = {"forward": forward}
    if not op.differentiable or op.mutates:
        return calls
    for tensor in tensors:
        if tensor is not None and is_floating(tensor.dtype):
            tensor.requires_grad = True

    def forward_backward() -> None:
        out = apply(op, *tensors)
        first = out[0] if isinstance(out, tuple) else out
        for tensor in tensors:
            if tensor is not None:
                tensor.grad = None
        if first.requires_grad:
            first.backward(gradients[0])

    out = apply(op, *tensors)
    first = out[0] if isinstance(out, tuple) else out
    gradients = [Tensor(np.ones(first.shape, np.float32), device=where)]
    if first.requires_grad:
        calls["forward and backward"] = forward_backward
    return calls


def _theirs(case: Case, arrays: tuple[Any, ...], torch: Any) -> dict[str, Callable[[], Any]]:
    twin = case.op.twin
    if torch is None or twin is None:
        return {}
    inputs = [None if a is None else torch.from_numpy(np.ascontiguousarray(a)) for a in arrays]

    def forward() -> Any:
        with torch.no_grad():
            return twin(torch, *inputs)

    return {"forward": forward}


def _torch(threads: int) -> Any:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(threads)
    return torch
