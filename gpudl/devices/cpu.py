"""The cpu: NumPy runs an operator's definition or a faster form of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpudl.core.op import Arrays, Needs, Op, Specs
from gpudl.devices.base import Device, quietly


class Cpu(Device):
    name = "cpu"

    def forward(self, op: Op, specs: Specs, arrays: Arrays, algorithm: str | None = None) -> Arrays:
        run = _numpy_form(op, "forward", algorithm)
        return quietly(run, np, *arrays)  # type: ignore[no-any-return]

    def backward(
        self, op: Op, dys: Arrays, saved: Any, needs: Needs, algorithm: str | None = None
    ) -> Arrays:
        run = _numpy_form(op, "backward", algorithm)
        return quietly(run, np, dys, saved, needs)  # type: ignore[no-any-return]


def form_name(op: Op | type[Op], direction: str, algorithm: str | None = None) -> str | None:
    """The method that runs: the algorithm's, or by default the first faster form than the
    definition. "definition" names forward and backward themselves. None if there is none."""
    for name in (algorithm,) if algorithm else (*op.cpu, "definition"):
        attribute = direction if name == "definition" else f"{direction}_{name}"
        if getattr(op, attribute, None) is not None:
            return attribute
    return None


def _numpy_form(op: Op, direction: str, algorithm: str | None) -> Callable[..., Any]:
    """The bound method to run."""
    forms = op.numpy_forms
    run = forms.get((direction, algorithm))
    if run is None:
        name = form_name(op, direction, algorithm)
        if name is None:
            raise ValueError(f"{op.name}: has no {direction} named {algorithm!r}; has {op.cpu}")
        run = forms[direction, algorithm] = getattr(op, name)
    return run
