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


def _numpy_form(op: Op, direction: str, algorithm: str | None) -> Callable[..., Any]:
    """The bound method to run; "definition" names forward and backward themselves."""
    forms = op.numpy_forms
    run = forms.get((direction, algorithm))
    if run is None:
        for name in (algorithm,) if algorithm else (*op.cpu, "definition"):
            attribute = direction if name == "definition" else f"{direction}_{name}"
            run = getattr(op, attribute, None)
            if run is not None:
                break
        else:
            raise ValueError(f"{op.name}: has no {direction} named {algorithm!r}; has {op.cpu}")
        forms[direction, algorithm] = run
    return run
