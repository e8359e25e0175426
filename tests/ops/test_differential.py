"""Every operator on drawn dtypes, values, shapes and memory layouts: the public path on each device
against the definition in float64, the definition against PyTorch. All derived from declarations.

The slow part draws anew each time; a failure prints `@reproduce_failure`, which repeats it when put
above `run`.
"""

from __future__ import annotations

import warnings
from functools import cache, cached_property
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpudl.autograd.apply import apply
from gpudl.autograd.tape import walk
from gpudl.autograd.tensor import Tensor
from gpudl.core.dtypes import dtype_of
from gpudl.core.op import OPS, Case, Op, is_floating, is_small
from gpudl.devices.find import cpu, device
from tests.ops import harness as h
from tests.tolerance import UNIT, tolerance

TORCH = find_spec("torch") is not None
LIMIT = 1000  # elements of the inputs of a case, so that thousands of examples run
ORDINARY = 1e3  # larger values do not set the scale of rounding errors
CONTROLS = ("hyper", "rows", "blocks", "counter")  # inputs that steer, never data
LAYOUTS = ("C", "F", "reversed", "strided", "read-only", "big-endian")
SPECIAL = ("0", "-0", "inf", "-inf", "nan", "subnormal", "-subnormal", "tiny")
MULTIPLY_ZEROS = ("gpudl.ops.conv.", "gpudl.ops.pool.interpolate", "gpudl.ops.recurrent.")
EXTREME = ("largest", "-largest")


def examined(examples: int, **how: Any) -> settings:
    quiet = list(HealthCheck)
    return settings(
        max_examples=examples, database=None, deadline=None, suppress_health_check=quiet, **how
    )


QUICK = examined(3, derandomize=True)


@cache
def cases_of(name: str) -> list[Case]:
    drawn = [case for case in h.GOOD if case.op.name == name]
    sizes = [sum(a.size for a in h.draw(case) if a is not None) for case in drawn]
    fit = [case for case, size in zip(drawn, sizes, strict=True) if size <= LIMIT]
    return fit or [drawn[int(np.argmin(sizes))]]


# ------------------------------------------------------------------------------ drawn inputs


class Example(NamedTuple):
    op: Op
    dtype: np.dtype
    arrays: tuple  # native and C-contiguous
    given: tuple  # the same values in other layouts
    device: str

    def __repr__(self) -> str:
        inputs = zip(self.op.inputs, self.arrays, self.given, strict=True)
        text = [
            f"{n} {a.dtype}{list(a.shape)} with strides {g.strides}: "
            + np.array2string(a, threshold=60).replace("\n", "")
            for n, a, g in inputs
            if a is not None
        ]
        return f"{self.op} on {self.device}: " + "; ".join(text)


@st.composite
def examples(draw, name: str, dtypes: tuple, devices: tuple, values: tuple):
    case = draw(st.sampled_from(cases_of(name)))
    op, dtype = case.op, dtype_of(draw(st.sampled_from(dtypes)))
    arrays = list(case.make(np.random.default_rng(draw(st.integers(0, 999)))))
    floating = [i for i, a in enumerate(arrays) if a is not None and is_floating(a.dtype)]
    with np.errstate(all="ignore"):
        for i in floating:
            arrays[i] = (arrays[i] * (1 if is_floating(dtype) else 4)).astype(dtype)
    if not any(n in CONTROLS for n in op.inputs):
        arrays = resized(op, arrays, draw)
    data = [i for i in floating if arrays[i].size and op.inputs[i] not in CONTROLS]
    if multiplies_zeros(op):
        values = tuple(value for value in values if not value.endswith(("inf", "nan")))
    if data and values:
        change = st.tuples(
            st.sampled_from(data), st.floats(0, 1, exclude_max=True), st.sampled_from(values)
        )
        for i, at, value in draw(st.lists(change, max_size=3)):
            array = arrays[i] = arrays[i].copy()
            array.reshape(-1)[int(at * array.size)] = special(value, array.dtype)
    given = [
        a if a is None or n in CONTROLS else laid_out(a, draw(st.sampled_from(LAYOUTS)))
        for n, a in zip(op.inputs, arrays, strict=True)
    ]
    return Example(op, dtype, tuple(arrays), tuple(given), draw(st.sampled_from(devices)))


def multiplies_zeros(op: Op) -> bool:
    """Whether some algorithms multiply by the zeros of padding, gaps, weights or ended sequences
    and others skip these: an infinite number then spreads NaN or does not, in PyTorch too."""
    return type(op).__module__.startswith(MULTIPLY_ZEROS)


def special(name: str, dtype: np.dtype) -> Any:
    if not is_floating(dtype):
        return dtype.type(0)
    from ml_dtypes import finfo

    info = finfo(dtype)
    numbers = {
        "0": 0.0, "inf": np.inf, "nan": np.nan, "subnormal": info.smallest_subnormal,
        "tiny": info.smallest_normal, "largest": info.max,
    }  # fmt: skip
    number = numbers[name.lstrip("-")]
    return dtype.type(-number if name.startswith("-") else number)


def laid_out(array: np.ndarray, layout: str) -> np.ndarray:
    """The same values in another memory layout."""
    if layout == "read-only":
        array = array.copy()
        array.setflags(write=False)
    elif layout == "big-endian" and array.dtype.kind in "fiu":
        return array.astype(array.dtype.newbyteorder(">"))
    elif layout == "F" and array.ndim:
        return np.asfortranarray(array)
    elif layout == "reversed" and array.ndim:
        flip = (slice(None, None, -1),) * array.ndim
        return array[flip].copy()[flip]
    elif layout == "strided" and array.ndim:
        every = (slice(1, None, 2),) * array.ndim
        buffer = np.full([2 * n for n in array.shape], 77).astype(array.dtype)
        buffer[every] = array
        return buffer[every]
    return array


def resized(op: Op, arrays: list, draw) -> list:
    """Another extent wherever some extent occurs in the shapes, if the operator takes that."""
    extents = sorted({n for a in arrays if a is not None for n in a.shape})
    if not extents or not draw(st.booleans()):
        return arrays
    old, new = draw(st.sampled_from(extents)), draw(st.sampled_from((0, 1, 2, 7)))
    changed = [
        None if a is None else np.resize(a, [new if n == old else n for n in a.shape])
        for a in arrays
    ]
    try:
        op.infer(*h.specs_of(tuple(changed)))
        definition(op, tuple(changed))
    except (ValueError, TypeError, IndexError, ArithmeticError):
        return arrays
    return changed


# ------------------------------------------------------------------------------ expected results


def as_float64(arrays) -> tuple:
    return tuple(
        a if a is None or not is_floating(a.dtype) else a.astype(np.float64) for a in arrays
    )


def definition(op: Op, arrays: tuple) -> tuple[tuple, tuple]:
    """(inputs after the run, outputs) in float64."""
    placed = h.copies(cpu, op, as_float64(arrays))
    return placed, cpu.forward(op, h.specs_of(placed), placed, "definition")


@np.errstate(all="ignore")
def gradients(op: Op, after: tuple, outputs: tuple, dys: tuple, needs: tuple, dtypes) -> tuple:
    """The definition's in float64, from saved arrays as they were rounded."""
    rounded = (np.asarray(y).astype(d) for y, d in zip(outputs, dtypes, strict=True))
    specs = h.specs_of(after)
    saved = op.save(after, as_float64(rounded), specs)
    return cpu.backward(op, as_float64(dys), saved, needs, "definition")


def shaken(arrays: tuple, dtype: np.dtype, seed: int) -> tuple:
    """The arrays in float64 with rounding errors of `dtype`."""
    rng = np.random.default_rng(seed)
    unit = UNIT[dtype.name]
    return tuple(
        a if a is None or a.dtype.kind != "f" else a * (1 + unit * rng.choice((-1, 1), a.shape))
        for a in as_float64(arrays)
    )


class Twin:
    """PyTorch's results for an example, computed when asked for; None where it has none."""

    def __init__(self, example: Example, dys: tuple | None = None) -> None:
        self.example, self.dys = example, dys

    @cached_property
    def results(self) -> tuple[list, list]:
        import torch

        op = self.example.op
        needs = needs_of(self.example)

        def placed(a, need=False):
            if a is None:
                return None
            small = a.dtype.name == "bfloat16"
            made = torch.tensor(a.astype(np.float32) if small else a)
            return (made.bfloat16() if small else made).requires_grad_(need)

        inputs = [placed(*pair) for pair in zip(self.example.arrays, needs, strict=True)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                twins = op.twin(torch, *inputs)
                twins = list(twins) if isinstance(twins, (tuple, list)) else [twins]
                given = zip(twins, self.dys or (), strict=False)
                pairs = [(y, placed(dy)) for y, dy in given if dy is not None and y.requires_grad]
                if pairs:
                    torch.autograd.backward([y for y, _ in pairs], [dy for _, dy in pairs])
            except (RuntimeError, ValueError, IndexError, ArithmeticError):
                return [], []  # PyTorch lacks it for such a dtype or shape

        def fetched(t):
            if t is None:
                return None
            return (t.detach().double() if t.is_floating_point() else t).numpy()

        grads = [None if x is None else fetched(x.grad) for x in inputs]
        return [fetched(y) for y in twins], grads

    def output(self, i: int) -> Any:
        outputs = self.results[0]
        return outputs[i] if i < len(outputs) else None

    def gradient(self, i: int) -> Any:
        found = self.results[1]
        return found[i] if i < len(found) else None


def needs_of(example: Example) -> tuple:
    if not is_floating(example.dtype):
        return (False,) * len(example.arrays)
    return h.needs_of(Case("", example.op, tuple), example.arrays)


# ------------------------------------------------------------------------------ comparison


@np.errstate(all="ignore")
def agree(got, want, others, kind: str, reduction: int, what: str, twin=None) -> None:
    """`got` is `want`, a result in float64, in its own dtype. others: the results of shaken inputs,
    whose distances show how much rounding errors are magnified. twin: PyTorch's result, if the
    inputs are so large that their squares overflow: nothing is expected where PyTorch's does."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, f"{what}: shape {got.shape}, expected {want.shape}"
    if not is_floating(got.dtype):
        np.testing.assert_array_equal(got, want, err_msg=what)
        return
    from ml_dtypes import finfo

    rtol, atol = tolerance(max((kind, got.dtype.name), key=UNIT.get), reduction)
    size = np.abs(want)
    scale = max(1.0, float(size[size <= ORDINARY].max(initial=0)))
    spread = sum(np.nan_to_num(np.abs(np.asarray(o) - want), posinf=0) for o in others)
    allowed = rtol * size + atol * scale + 8 * (1 + np.sqrt(reduction)) * spread
    value, rounded = got.astype(np.float64), want.astype(got.dtype).astype(np.float64)

    def equal(found, expected):
        both_nan = np.isnan(found) & np.isnan(expected)
        return both_nan | (found == expected) | (np.abs(found - expected) <= allowed)

    # What rounding errors take across the largest number may be it or infinite.
    crosses = np.isfinite(want) & (size + allowed >= float(finfo(got.dtype).max))
    good = equal(value, rounded) | equal(value, want) | (crosses & (value * want > 0))
    if not good.all() and twin is not None and (theirs := twin()) is not None:
        good |= ~equal(theirs, want)
    if not good.all():
        at = tuple(int(i[0]) for i in np.nonzero(~good))
        raise AssertionError(
            f"{what}: {value[at]} at {at}, expected {want[at]} ± {allowed[at]:.3g}; "
            f"{(~good).sum()} of {good.size} differ"
        )


def rounds_to(example: Example, direction: str) -> str:
    """The format to which the kernel that ran rounds its operands."""
    if example.device == "cpu" or not example.op.kernels:
        return "float64"
    where = h.native(example.device)
    chosen = where.chosen(example.op, direction, h.specs_of(example.arrays))
    if chosen is None:
        return "float32"
    return where.launcher(example.op, direction, chosen.algorithm).computes.rounds


def overflows(example: Example) -> bool:
    """Whether squares of the inputs leave the range of their dtype."""
    from ml_dtypes import finfo

    sizes = (np.abs(a) for a in as_float64(example.arrays) if a is not None and a.dtype.kind == "f")
    top = float(finfo(example.dtype).max)
    return any(((s > np.sqrt(top)) & np.isfinite(s)).any() for s in sizes)


def has_kernel(example: Example) -> bool:
    where, arrays = device(example.device), example.arrays
    if example.device == "cpu" or not example.op.kernels:
        return True
    wide = tuple(a if a is None or not is_small(a.dtype) else a.astype(np.float32) for a in arrays)
    return any(where.has_kernel(example.op, "forward", h.specs_of(x)) for x in (arrays, wide))


# ------------------------------------------------------------------------------ tests


def run_on(example: Example) -> tuple[list, tuple]:
    """(inputs, outputs) as tensors, through the public path."""
    op = example.op
    tensors = [
        None if a is None
        else Tensor(a.copy() if n in op.mutates else a, device=example.device, requires_grad=need)
        for n, a, need in zip(op.inputs, example.given, needs_of(example), strict=True)
    ]  # fmt: skip
    results = apply(op, *tensors)
    return tensors, results if isinstance(results, tuple) else (results,)


def check_on_device(example: Example) -> None:
    op, dtype, arrays, _, where = example
    if not has_kernel(example):
        with pytest.raises(TypeError, match=f"{op.name}: no forward kernel"):
            run_on(example)
        return
    tensors, results = run_on(example)
    specs = h.specs_of(arrays)
    inferred = op.infer_cached(specs)
    after, want = definition(op, arrays)
    others = [definition(op, shaken(arrays, dtype, seed)) for seed in (1, 2)]
    reduction, kind = op.reduction(*specs), rounds_to(example, "forward")
    dys = h.output_gradients(op, tuple(y.detach().numpy() for y in results))
    twin = Twin(example, dys) if TORCH and op.twin is not None and overflows(example) else None
    for i, (name, spec, y) in enumerate(zip(op.outputs, inferred, results, strict=True)):
        assert (y.shape, y.dtype) == (spec.shape, spec.dtype), name
        if name not in op.internal:
            if i and name in op.saves and not np.isfinite(want[i]).all():
                continue  # a statistic that only backward reads
            run = [outputs[i] for _, outputs in others]
            theirs = twin and (lambda i=i: twin.output(i))
            agree(y.detach().numpy(), want[i], run, kind, reduction, name, theirs)
    for i, name in enumerate(op.inputs):
        if name in op.mutates and tensors[i] is not None:
            run = [ins[i] for ins, _ in others]
            agree(tensors[i].detach().numpy(), after[i], run, kind, reduction, f"{name} after")
    roots = [
        (y._edge(), device(where).asarray(dy))
        for y, dy in zip(results, dys, strict=True)
        if dy is not None and y._edge() is not None
    ]
    if not op.differentiable or not roots:
        return
    leaves = [t for t in tensors if t is not None and t.requires_grad]
    got = {id(t): gradient for t, gradient in walk(roots, False, leaves)}
    needs, dtypes = needs_of(example), [s.dtype for s in inferred]
    back = gradients(op, after, want, dys, needs, dtypes)
    others = [
        gradients(op, shaken(ins, dtype, 3), shaken(outs, dtype, 4), dys, needs, dtypes)
        for ins, outs in others
    ]
    kind = rounds_to(example, "backward")
    for i, (name, t) in enumerate(zip(op.inputs, tensors, strict=True)):
        if needs[i] and t is not None:
            gradient = got.get(id(t))
            assert (gradient is None) == (back[i] is None), f"d{name}: {gradient}"
            if gradient is not None:
                gradient = np.asarray(device(where).to_numpy(gradient))
                assert gradient.dtype == t.dtype, f"d{name} is {gradient.dtype}"
                theirs = twin and (lambda i=i: twin.gradient(i))
                run = [o[i] for o in others]
                agree(gradient, back[i], run, kind, reduction, f"d{name}", theirs)


def check_against_pytorch(example: Example) -> None:
    op, arrays = example.op, example.arrays
    after, want = definition(op, arrays)
    dys = h.output_gradients(op, want)
    twin, needs, reduction = (
        Twin(example, dys),
        needs_of(example),
        op.reduction(*h.specs_of(arrays)),
    )
    for i, y in enumerate(want):
        if (theirs := twin.output(i)) is not None:
            agree(y, theirs, [], "float64", reduction, op.outputs[i])
    if not all(np.isfinite(a).all() for a in arrays if a is not None and a.dtype.kind == "f"):
        return  # gradients at infinite numbers and NaN are conventions
    used = tuple(dy if twin.output(i) is not None else None for i, dy in enumerate(dys))
    if op.differentiable and op.true_gradient and any(needs) and any(d is not None for d in used):
        back = gradients(op, after, want, used, needs, [np.asarray(y).dtype for y in want])
        for i, dx in enumerate(back):
            if dx is not None and (theirs := twin.gradient(i)) is not None:
                agree(dx, theirs, [], "float64", reduction, f"d{op.inputs[i]}")


def check_integers(example: Example) -> None:
    """Results for integers are PyTorch's bits; kernels may refuse them."""
    try:
        example.op.infer(*h.specs_of(example.arrays))
    except (TypeError, ValueError):
        return
    theirs = Twin(example).output(0)
    if theirs is not None:  # PyTorch refuses a division by 0 too
        _, results = run_on(example)
        agree(results[0].numpy(), theirs, [], "float32", 1, example.op.outputs[0])


def takes_integers(name: str) -> bool:
    """Whether the operator takes int64 in place of floats."""
    op = OPS[name]
    if op.kernels or op.twin is None:
        return False
    for case in cases_of(name):
        given = h.specs_of(h.draw(case))
        whole = tuple(
            s._replace(dtype=np.dtype("int64")) if s and is_floating(s.dtype) else s for s in given
        )
        if whole != given:
            try:
                case.op.infer(*whole)
            except (TypeError, ValueError):
                continue
            return True
    return False


FLOATS = ("float32", "float16", "bfloat16", "float64")
INTEGERS = ("int64", "int32", "int16", "int8", "uint8", "bool")
TWINS = [name for name in sorted(OPS) if OPS[name].twin is not None]
WHOLE = [name for name in sorted(OPS) if takes_integers(name)]
needs_torch = pytest.mark.skipif(not TORCH, reason="PyTorch is not installed")


def on_device(name: str, how: settings) -> None:
    values = SPECIAL + EXTREME * (TORCH and OPS[name].twin is not None)
    if name == "rprop":  # the sign of a product decides: float32's, as PyTorch's, underflows to 0
        values = tuple(value for value in values if not value.endswith(("normal", "tiny")))
    how(
        given(examples(name, FLOATS, h.DEVICES, values))(lambda example: check_on_device(example))
    )()


def against_pytorch(name: str, how: settings) -> None:
    drawn = examples(name, ("float64",), ("cpu",), SPECIAL)
    how(given(drawn)(lambda example: check_against_pytorch(example)))()


def integers(name: str, how: settings) -> None:
    drawn = examples(name, INTEGERS, h.DEVICES, ("0",))
    how(given(drawn)(lambda example: check_integers(example)))()


PARTS = [
    pytest.param(QUICK, id="quick"),
]


@pytest.mark.parametrize("how", PARTS)
@pytest.mark.parametrize("name", sorted(OPS))
def test_devices_agree_with_the_definition(name, how):
    on_device(name, how)


@needs_torch
@pytest.mark.parametrize("how", PARTS)
@pytest.mark.parametrize("name", TWINS)
def test_definition_agrees_with_pytorch(name, how):
    against_pytorch(name, how)


@needs_torch
@pytest.mark.parametrize("how", PARTS)
@pytest.mark.parametrize("name", WHOLE)
def test_integers_agree_with_pytorch(name, how):
    integers(name, how)
