"""Shared by the tests of all operators: the list of cases, and running one on a device."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

import gpudl  # noqa: F401 (registers all operators)
from gpudl.core.layout import channels_first, channels_last
from gpudl.core.op import OPS, Array, Case, Op, Spec, is_floating
from gpudl.devices.find import Device, NativeDevice, cpu, device, why_missing

EMULATOR_MISSING = why_missing("emulator")
DEVICES = ("cpu",) if EMULATOR_MISSING else ("cpu", "emulator")

CASES = [case for op in OPS.values() for case in op.cases()]
GOOD = [case for case in CASES if case.error is None]
BAD = [case for case in CASES if case.error is not None]


def label(case: Case) -> str:
    return f"{case.op.name}-{case.name.replace(' ', '_')}"


def draw(case: Case, dtype: str | None = None) -> tuple:
    """Inputs of a case, the same each time; floating ones in `dtype` if given."""
    arrays = case.make(np.random.default_rng(abs(hash_name(label(case)))))
    if dtype is None:
        return arrays
    return tuple(a if a is None or not is_floating(a.dtype) else a.astype(dtype) for a in arrays)


def hash_name(name: str) -> int:
    return sum((i + 1) * ord(c) for i, c in enumerate(name))


def specs_of(arrays: tuple) -> tuple[Spec | None, ...]:
    return tuple(None if a is None else Spec(a.shape, a.dtype) for a in arrays)


def copies(where: Device, op: Op, arrays: tuple) -> tuple:
    """The arrays on a device; those that the operator changes in place are copied."""
    return tuple(
        None if a is None else where.asarray(a.copy() if n in op.mutates else a)
        for n, a in zip(op.inputs, arrays, strict=True)
    )


def reference(case: Case, dtype: str | None = "float64") -> tuple[tuple, tuple]:
    """(inputs after the run, outputs) of the definition, by default in float64."""
    arrays = copies(cpu, case.op, draw(case, dtype))
    return arrays, cpu.forward(case.op, specs_of(arrays), arrays, "definition")


def results(op: Op, inputs: tuple, outputs: tuple) -> dict[str, Array]:
    """The results of forward by name: its outputs and the inputs that it changed."""
    given = zip(op.inputs, inputs, strict=True)
    changed = {f"{n} after": a for n, a in given if n in op.mutates and a is not None}
    return {**dict(zip(op.outputs, outputs, strict=True)), **changed}


NATIVE_MARKS = {
    "emulator": [] if EMULATOR_MISSING is None else [pytest.mark.skip(reason=EMULATOR_MISSING)],
    "cuda": [pytest.mark.cuda],
}


needs_emulator = pytest.mark.skipif(EMULATOR_MISSING is not None, reason=str(EMULATOR_MISSING))


def native_devices() -> list:
    return [pytest.param(name, marks=marks) for name, marks in NATIVE_MARKS.items()]


# Tests are generated only for cases in which they compare something.


def each(cases: Iterable[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", list(cases), ids=label)


def each_on_native_devices(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """An operator without kernels runs its definition: on a GPU through CuPy, but on the emulator
    through NumPy, which would be compared with itself."""
    return pytest.mark.parametrize(
        ("case", "where"),
        [
            pytest.param(case, name, marks=marks, id=f"{label(case)}-{name}")
            for case in cases
            for name, marks in NATIVE_MARKS.items()
            if case.op.kernels or name != "emulator"
        ],
    )


def needs_of(case: Case, arrays: tuple) -> tuple[bool, ...]:
    return tuple(
        a is not None and is_floating(a.dtype) and n not in (*case.op.mutates, *case.op.constants)
        for n, a in zip(case.op.inputs, arrays, strict=True)
    )


def gradient_path(case: Case) -> tuple[list[Array], list[Spec]]:
    """The inputs that get a gradient, and the outputs that have one."""
    op, arrays = case.op, draw(case)
    outputs = zip(op.outputs, op.infer(*specs_of(arrays)), strict=True)
    return (
        [a for a, need in zip(arrays, needs_of(case, arrays), strict=True) if need],
        [spec for name, spec in outputs if is_floating(spec.dtype) and name not in op.internal],
    )


def has_gradient(case: Case) -> bool:
    return case.op.differentiable and all(gradient_path(case))


def has_differences(case: Case) -> bool:
    """Whether the gradient can be compared with finite differences."""
    if not case.op.true_gradient or not has_gradient(case):
        return False
    inputs, outputs = gradient_path(case)
    floating = (a for a in draw(case) if a is not None and is_floating(a.dtype))
    some = any(a.size for a in inputs) and any(spec.size for spec in outputs)
    return some and all(np.isfinite(a).all() for a in floating)


def numpy_forms(case: Case, direction: str) -> list[str]:
    """The NumPy forms that are faster than the definition."""
    if direction == "backward" and not has_gradient(case):
        return []
    return [form for form in case.op.cpu if hasattr(case.op, f"{direction}_{form}")]


def algorithms(where: NativeDevice, op: Op, direction: str, specs: tuple) -> list[str | None]:
    """The kernels that take such inputs; [None], the definition, if there are no kernels."""
    if not op.kernels:
        return [None]
    known = where.kernels(op, direction)
    fit = [kernel.algorithm for kernel in known if where.takes(op, kernel, specs)]
    names = where.algorithms(op, direction)
    assert fit, f"{op.name}: no {direction} kernel supports these inputs; exported are {names}"
    return fit


def output_gradients(op: Op, outputs: tuple, seed: int = 1) -> tuple:
    rng = np.random.default_rng(seed)
    return tuple(
        rng.standard_normal(y.shape).astype(y.dtype)
        if is_floating(y.dtype) and name not in op.internal
        else None
        for name, y in zip(op.outputs, outputs, strict=True)
    )


GUARD = 64  # bytes before and after every array that a kernel writes


@contextmanager
def guarded(where: NativeDevice) -> Iterator[list]:
    """Kernels write into arrays that are filled with NaN (or -1) and surrounded by guard bands.

    Yields the list of (array, buffer); on exit every guard band must be untouched.
    """
    made: list = []

    def allocate(spec: Spec):
        buffer = where.xp.full(spec.size * spec.dtype.itemsize + 2 * GUARD, 0xFF, np.uint8)
        body = buffer[GUARD : buffer.size - GUARD].view(spec.dtype)
        if spec.layout == "nhwc":
            rank = len(spec.shape)
            stored = body.reshape([spec.shape[axis] for axis in channels_last(rank)])
            array = stored.transpose(channels_first(rank))
        else:
            array = body.reshape(spec.shape)
        made.append((array, buffer))
        return array

    before, where.allocate = where.allocate, allocate
    try:
        yield made
    finally:
        where.allocate = before
    for array, buffer in made:
        for band in (buffer[:GUARD], buffer[buffer.size - GUARD :]):
            assert (band == 0xFF).all(), f"a kernel wrote outside its output of shape {array.shape}"


def native(name: str) -> NativeDevice:
    where = device(name)
    assert isinstance(where, NativeDevice)
    return where
