"""Tests of every operator, algorithm and device, derived from the declarations alone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import OPS
from gpudl.devices.find import cpu
from tests.ops import harness as h
from tests.tolerance import assert_close

native = pytest.mark.parametrize("where", h.native_devices())


# Their gradients are small differences of terms of size 1, so rounding errors of size 1 remain.
VANISHING = {
    "sigmoid-large", "batch_norm-training_1x1x1x2", "batch_norm-fused_1x1x1x2",
    "batch_norm-by_hand", "group_norm-by_hand", "group_norm-one_value_in_two_samples",
    "layer_norm-3x2", "layer_norm-by_hand",
}  # fmt: skip


def dtype_kind(case) -> str:
    """The dtype that results are rounded to."""
    floats = [a.dtype.name for a in h.draw(case) if a is not None and h.is_floating(a.dtype)]
    return next((kind for kind in ("bfloat16", "float16") if kind in floats), "float32")


def coarser(case, where, direction: str, algorithm: str | None) -> str:
    """The dtype that rounds more: the results' or the kernel's operands'."""
    rounded = dtype_kind(case)
    if rounded == "bfloat16":
        return rounded
    if algorithm is None:
        return "float32"
    return where.launcher(case.op, direction, algorithm).computes.rounds


@h.each(case for case in h.GOOD if case.golden)
def test_golden_values(case):
    _, outputs = h.reference(case, None)
    for name, got, want in zip(case.op.outputs, outputs, case.golden, strict=False):
        assert_close(got, np.asarray(want), reduction=1, what=name)


def test_every_operator_has_cases():
    covered = {case.op.name for case in h.GOOD}
    assert covered == OPS.keys()


@pytest.mark.parametrize("cases", [h.GOOD, h.BAD], ids=["good", "bad"])
def test_names_of_cases_are_unique(cases):
    assert not [label for label, n in Counter(map(h.label, cases)).items() if n > 1]


@h.each(h.BAD)
def test_bad_inputs_are_refused(case):
    tensors = [None if a is None else Tensor(a) for a in h.draw(case)]
    with pytest.raises((ValueError, TypeError, IndexError), match=case.error):
        apply(case.op, *tensors)


@h.each(h.GOOD)
def test_infer_agrees_with_the_definition(case):
    arrays = h.copies(cpu, case.op, h.draw(case))
    outputs = cpu.forward(case.op, h.specs_of(arrays), arrays, "definition")
    specs = case.op.infer(*h.specs_of(arrays))
    assert [(y.shape, y.dtype) for y in outputs] == [(s.shape, s.dtype) for s in specs]


@h.each(filter(h.has_differences, h.GOOD))
def test_gradient_by_central_differences(case):
    """In float64 along random directions: dyᵀ·J·v by differences against vᵀ·backward(dy)."""
    op = case.op
    arrays, outputs = h.reference(case)
    specs = h.specs_of(arrays)
    needs = h.needs_of(case, arrays)
    dys = h.output_gradients(op, outputs)
    saved = op.save(h.draw(case, "float64") if op.mutates else arrays, outputs, specs)
    grads = cpu.backward(op, dys, saved, needs, "definition")
    rng = np.random.default_rng(2)
    for i, needed in enumerate(needs):
        if not needed or arrays[i].size == 0:
            continue
        assert grads[i] is not None, f"no gradient of {op.inputs[i]}"
        assert grads[i].shape == arrays[i].shape
        v = rng.standard_normal(arrays[i].shape)
        eps = 1e-6

        def along(step, i=i, v=v):
            moved = list(h.copies(cpu, op, h.draw(case, "float64")))
            moved[i] = moved[i] + step * v
            ys = cpu.forward(op, specs, tuple(moved), "definition")
            return sum((y * dy).sum() for y, dy in zip(ys, dys, strict=True) if dy is not None)

        numeric = (along(eps) - along(-eps)) / (2 * eps)
        analytic = (grads[i] * v).sum()
        scale = max(1.0, np.abs(grads[i] * v).sum())
        assert abs(numeric - analytic) <= 1e-6 * scale, (op.inputs[i], numeric, analytic)


@h.each(c for c in h.GOOD if h.numpy_forms(c, "forward") or h.numpy_forms(c, "backward"))
def test_faster_numpy_forms_equal_the_definition(case):
    op, kind = case.op, dtype_kind(case)
    want = h.results(op, *h.reference(case))
    for form in h.numpy_forms(case, "forward"):
        arrays = h.copies(cpu, op, h.draw(case))
        outputs = cpu.forward(op, h.specs_of(arrays), arrays, form)
        compare(case, h.results(op, arrays, outputs), want, kind, form)
    for form in h.numpy_forms(case, "backward"):
        check_backward(case, lambda *a, f=form: cpu.backward(*a, f), cpu, kind, form)


@h.each_on_native_devices(h.GOOD)
def test_native_forward(case, where):
    where = h.native(where)
    op = case.op
    specs = h.specs_of(h.draw(case))
    want = h.results(op, *h.reference(case))
    for algorithm in h.algorithms(where, op, "forward", specs):
        placed = h.copies(where, op, h.draw(case))
        with h.guarded(where):
            outputs = where.forward(op, specs, placed, algorithm)
            where.synchronize()
        got = {name: where.to_numpy(a) for name, a in h.results(op, placed, outputs).items()}
        kind = coarser(case, where, "forward", algorithm)
        compare(case, got, want, kind, algorithm or "definition")


@h.each_on_native_devices(filter(h.has_gradient, h.GOOD))
def test_native_backward(case, where):
    where = h.native(where)
    specs = h.specs_of(h.draw(case))
    for algorithm in h.algorithms(where, case.op, "backward", specs):

        def run(*arguments, algorithm=algorithm):
            with h.guarded(where):
                result = where.backward(*arguments, algorithm)
                where.synchronize()
            return result

        kind = coarser(case, where, "backward", algorithm)
        check_backward(case, run, where, kind, algorithm or "definition")


@native
def test_every_kernel_runs_in_some_case(where):
    where = h.native(where)
    idle = {f"{op}_{d}_{a}" for op, d, a in every_kernel(where)}
    for case in h.GOOD:
        op, specs = case.op, h.specs_of(h.draw(case))
        for d in ("forward", "backward") if op.differentiable else ("forward",):
            ran = h.algorithms(where, op, d, specs)
            idle.difference_update(f"{op.name}_{d}_{a}" for a in ran)
    assert not idle


def every_kernel(where):
    for name, op in OPS.items():
        for direction in ("forward", "backward"):
            for algorithm in where.algorithms(op, direction):
                yield name, direction, algorithm


@h.each_on_native_devices(case for case in h.GOOD if case.op.kernels)
def test_native_results_are_reproducible(case, where):
    where = h.native(where)
    op = case.op
    arrays = h.draw(case)
    specs = h.specs_of(arrays)

    def run(algorithm):
        placed = h.copies(where, op, arrays)
        outputs = where.forward(op, specs, placed, algorithm)
        return {n: where.to_numpy(a) for n, a in h.results(op, placed, outputs).items()}

    for algorithm in h.algorithms(where, op, "forward", specs):
        first, second = run(algorithm), run(algorithm)
        assert first, f"{op.name} gives nothing"
        for name, array in first.items():
            np.testing.assert_array_equal(second[name], array, f"{algorithm} {name}")


@h.each(case for case in h.GOOD if case.op.twin is not None)
def test_pytorch_agrees(case):
    """Forward and gradients in float64, if PyTorch is installed."""
    op = case.op
    torch = pytest.importorskip("torch")
    arrays, outputs = h.reference(case)
    needs = h.needs_of(case, arrays)
    inputs = [
        None if a is None else torch.tensor(a, requires_grad=n)
        for a, n in zip(h.draw(case, "float64"), needs, strict=True)
    ]
    twins = op.twin(torch, *inputs)
    twins = twins if isinstance(twins, tuple) else (twins,)
    for name, ours, theirs in zip(op.outputs, outputs, twins, strict=False):
        close(case, ours, theirs.detach().numpy(), "float64", name)
    dys = h.output_gradients(op, outputs)
    pairs = [
        (y, torch.tensor(dy))
        for y, dy in zip(twins, dys, strict=False)
        if dy is not None and y.requires_grad
    ]
    if op.differentiable and pairs:
        torch.autograd.backward([y for y, _ in pairs], [dy for _, dy in pairs])
        used = tuple(dy if i < len(twins) else None for i, dy in enumerate(dys))
        saved = op.save(arrays, outputs, h.specs_of(arrays))
        grads = cpu.backward(op, used, saved, needs, "definition")
        for name, ours, x in zip(op.inputs, grads, inputs, strict=True):
            if x is not None and x.grad is not None:
                close(case, ours, x.grad.numpy(), "float64", f"d{name}")


def compare(case, got, want, kind, what) -> None:
    """Compare the results of forward with the expected ones, by name."""
    assert got.keys() == want.keys()
    assert want, f"{case.op.name} gives nothing to compare"
    for name, expected in want.items():
        close(case, got[name], expected, kind, f"{what} {name}")


def close(case, got, want, kind, what) -> None:
    """Compare values relative to the largest expected one, at least float32's smallest normal."""
    want = np.asarray(want)
    if want.dtype.kind != "f":
        assert_close(got, want, kind, what=what)
        return
    reduction = case.op.reduction(*h.specs_of(h.draw(case)))
    finite = np.abs(want[np.isfinite(want)])
    largest = float(finite.max(initial=0)) or 1.0
    least = 1.0 if h.label(case) in VANISHING else float(np.finfo(np.float32).tiny)
    scale = np.float64(max(largest, least))
    assert_close(got / scale, want / scale, kind, reduction, what)


def check_backward(case, run, where, kind, what) -> None:
    """Compare `run`, a device's backward, with the definition's backward in float64. what: the
    algorithm, for messages."""
    op = case.op
    arrays, outputs = h.reference(case)
    needs = h.needs_of(case, arrays)
    dys = h.output_gradients(op, outputs)
    saved = op.save(arrays, outputs, h.specs_of(arrays))
    want = cpu.backward(op, dys, saved, needs, "definition")
    assert any(dx is not None for dx in want), f"{op.name}: backward gives no gradient to compare"

    own = h.copies(where, op, h.draw(case))
    floating = next(a.dtype for a in own if a is not None and h.is_floating(a.dtype))

    def narrow(a):
        return (
            None if a is None else where.asarray(a.astype(floating) if a.dtype == "float64" else a)
        )

    own_specs = h.specs_of(own)
    own_outputs = tuple(narrow(y) for y in outputs)
    own_saved = op.save(own, own_outputs, own_specs)
    for wanted in {needs, *only_one(needs)}:
        got = run(op, tuple(narrow(dy) for dy in dys), own_saved, wanted)
        for name, g, w, n in zip(op.inputs, got, want, wanted, strict=True):
            if n and w is not None:
                assert g is not None, f"{what}: d{name} is missing"
                close(case, where.to_numpy(g), w, kind, f"{what}: d{name}")


def only_one(needs: tuple[bool, ...]) -> list[tuple[bool, ...]]:
    """Gradients of one input at a time, as when other layers are frozen."""
    return [tuple(i == j for j in range(len(needs))) for i, need in enumerate(needs) if need]
