"""Shows which kernels a computation runs, which others could run it, and their times."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TextIO

import numpy as np

from gpudl.autograd.gradients import grad
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.core.choice import Candidate, median_seconds
from gpudl.core.op import Op, Specs
from gpudl.devices.find import Cpu, Device, NativeDevice


class Call(NamedTuple):
    """One executed operator. run: repeats it with the named algorithm."""

    op: Op
    direction: str
    specs: Specs
    run: Callable[[str | None], object]


def explain(
    function: Callable[..., Any],
    *args: Any,
    measure: bool = True,
    file: TextIO | None = None,
    **kwargs: Any,
) -> None:
    """Print, for each operator of `function(*args, **kwargs)`, the kernels that can run it, with
    predicted and measured times; `*` marks the chosen one.

    If the result needs gradients, the operators of its backward pass are listed too; no `.grad`
    changes. measure: also time the candidates. file: where to print, by default standard output.

    >>> gpudl.explain(F.conv2d, x, weight, padding=1)
    """
    tensors = list(_tensors((*args, *kwargs.values(), function)))
    if not tensors:
        raise TypeError("explain: no argument is a Tensor; give the function's arguments after it")
    device = tensors[0].device
    with _recorded(device) as calls:
        result = function(*args, **kwargs)
        first = result[0] if isinstance(result, tuple) else result
        if isinstance(first, Tensor) and first.requires_grad:
            leaves = [t for t in tensors if t.requires_grad]
            ones = Tensor(np.ones(first.shape, first.dtype), device=device)
            grad(first, leaves, ones, allow_unused=True)
    done = set()
    for call in calls:
        if not call.op.mutates and (key := call[:3]) not in done:
            done.add(key)
            print("\n".join(_lines(device, call, measure)), file=file or sys.stdout)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """All tensors among the values, parameters of modules included."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)
        elif hasattr(value, "parameters"):
            yield from value.parameters()


@contextmanager
def _recorded(device: Device) -> Iterator[list[Call]]:
    """Collects the operators that run on the device."""
    calls: list[Call] = []
    forward, backward = device.forward, device.backward

    def record_forward(op: Op, specs: Specs, arrays: Any, algorithm: str | None = None) -> Any:
        calls.append(Call(op, "forward", specs, lambda a: forward(op, specs, arrays, a)))
        return forward(op, specs, arrays, algorithm)

    def record_backward(
        op: Op, dys: Any, saved: Any, needs: Any, algorithm: str | None = None
    ) -> Any:
        run = lambda a: backward(op, dys, saved, needs, a)  # noqa: E731
        calls.append(Call(op, "backward", saved.specs, run))
        return backward(op, dys, saved, needs, algorithm)

    device.__dict__.update(forward=record_forward, backward=record_backward)
    try:
        yield calls
    finally:
        del device.__dict__["forward"], device.__dict__["backward"]


def _lines(device: Device, call: Call, measure: bool) -> Iterator[str]:
    """The table of one operator."""
    inputs = ", ".join(str(s) for s in call.specs if s is not None)
    yield f"{call.op!r} {call.direction} ({inputs}) on {device.name}"
    if isinstance(device, NativeDevice) and call.op.kernels:
        candidates = device.candidates(call.op, call.direction, call.specs)
        chosen = device.chosen(call.op, call.direction, call.specs) or candidates[0]
    elif isinstance(device, Cpu):
        forms = [f for f in call.op.cpu if hasattr(call.op, f"{call.direction}_{f}")]
        candidates = [Candidate(name) for name in (*forms, "definition")]
        chosen = candidates[0]
    else:
        yield "  has no kernels; its definition runs on arrays"
        return
    for candidate in candidates:
        line = f"{'*' if candidate == chosen else ' '} {candidate!s:<28}"
        if isinstance(device, NativeDevice):
            kernel = device.launcher(call.op, call.direction, candidate.algorithm)
            seconds = call.op.predict(device.machine, kernel, *call.specs)
            line += f" predicted {seconds * 1e6:10,.1f} µs"
        if measure:
            with no_grad():
                seconds = median_seconds(partial(call.run, str(candidate)), device.synchronize)
            line += f" measured {seconds * 1e6:12,.1f} µs"
        yield line
