"""Every operator by itself, on the largest of its test cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.bench.workload import Scale, Workload, given
from gpudl.core.op import OPS, Case, Cost, Op, Spec, is_floating

LARGEST = 2  # cases per operator


def workloads(scale: Scale) -> Iterator[Workload]:
    for name, op_class in sorted(OPS.items()):
        for case, arrays, _ in largest_cases(op_class):
            op = case.op
            both = op.differentiable and not op.mutates and has_gradient(op, arrays)
            yield Workload(
                f"{name}, {case.name}",
                op,
                tuple(None if a is None else given(a) for a in arrays),
                ("forward", "backward") if both else ("forward",),
                quick=True,
            )


def has_gradient(op: Op, arrays: tuple[Any, ...]) -> bool:
    """Whether any input has a gradient; integers and constants have none."""
    specs = tuple(None if a is None else Spec(a.shape, a.dtype) for a in arrays)
    outputs = op.infer(*specs)
    return is_floating(outputs[0].dtype) and any(
        s is not None and is_floating(s.dtype) and n not in op.constants
        for n, s in zip(op.inputs, specs, strict=True)
    )


def largest_cases(op_class: type[Op]) -> list[tuple[Case, tuple[Any, ...], Cost]]:
    """The valid float32 cases with the most work, largest first."""
    cases = []
    for case in op_class.cases():
        if case.error is not None:
            continue
        arrays = case.make(np.random.default_rng(0))
        if any(a is not None and is_floating(a.dtype) and a.dtype != np.float32 for a in arrays):
            continue
        specs = tuple(None if a is None else Spec(a.shape, a.dtype) for a in arrays)
        cases.append((case, arrays, case.op.cost(*specs)))
    cases.sort(key=lambda entry: -(entry[2].flops + entry[2].bytes))
    return cases[:LARGEST]
