"""Errors of sampled entries agree with those of the whole result."""

import numpy as np
import pytest

from gpudl.bench import accuracy
from gpudl.bench.ours import gradient
from gpudl.bench.suites import norm, optimizer, pool
from gpudl.bench.workload import Scale, Workload
from gpudl.devices.find import cpu
from gpudl.ops.conv.conv import Conv2dOp
from gpudl.ops.matrix.linear import LinearOp
from gpudl.ops.matrix.matmul import MatmulOp
from gpudl.ops.norm.layer import LayerNormOp

CPU = Scale("cpu", False)


def first(module, name):
    return next(w for w in module.workloads(CPU) if name in w.name)


WORKLOADS = {
    "matmul": Workload("m", MatmulOp.of(False, False), ((70, 33), (33, 50))),
    "stack": Workload("s", MatmulOp.of(False, False), ((3, 20, 33), (3, 33, 14))),
    "linear": Workload("l", LinearOp.of("none"), ((40, 30), (20, 30), (20,))),
    "conv": Workload(
        "c", Conv2dOp.of((1, 1), (1, 1), (1, 1), 1), ((3, 4, 9, 8), (6, 4, 3, 3), (6,))
    ),
    "conv, stride, groups": Workload(
        "g", Conv2dOp.of((2, 3), (2, 0), (1, 2), 2), ((5, 4, 13, 17), (6, 2, 3, 3), None)
    ),
    "layer norm, as many rows as features": Workload(
        "n", LayerNormOp.of((24,)), ((24, 24), (24,), (24,)), independent=0
    ),
    "max pool": first(pool, "LeNet-5 max"),
    "batch norm": Workload(
        "b", first(norm, "batch norm").op, norm._batch_norm_inputs((3, 20, 5, 5), False),
        independent=1,
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_is_cheap(monkeypatch):
    monkeypatch.setattr(accuracy, "MOST", 300)
    monkeypatch.setattr(accuracy, "cheap", lambda op, arrays: False)


@pytest.mark.parametrize("name", WORKLOADS)
def test_entries_agree_with_the_whole(name, monkeypatch):
    work = WORKLOADS[name]
    arrays = tuple(accuracy.wide(a) for a in work.arrays("float64"))
    monkeypatch.setattr(accuracy, "MOST", max(300, accuracy.size(arrays) // 2))
    specs = accuracy.specs_of(arrays)
    outputs = cpu.forward(
        work.op, specs, tuple(None if a is None else a.copy() for a in arrays), "definition"
    )
    dy = gradient(accuracy.specs_of(outputs)[0])
    forward = accuracy.expect_forward(work, arrays)
    backward = accuracy.expect_backward(work, arrays, dy, "backward")
    y = outputs[0]
    assert 0 < forward[work.op.outputs[0]].values.size <= y.size
    assert forward[work.op.outputs[0]].error(y) < 1e-12
    assert forward[work.op.outputs[0]].error(y * 1.001) == pytest.approx(0.001, rel=1e-6)
    needs = work.needs("backward")
    saved = work.op.save(arrays, outputs, specs, needs)
    dys = (dy, *(None for _ in outputs[1:]))
    gradients = dict(
        zip(work.op.inputs, cpu.backward(work.op, dys, saved, needs, "definition"), strict=True)
    )
    assert backward
    for wanted, expected in backward.items():
        assert expected.error(gradients[wanted]) < 1e-12, wanted


def test_a_result_that_is_not_finite_or_has_another_shape_is_wrong():
    expected = accuracy.Expected((slice(0, 2),), np.ones(2))
    assert expected.error(np.ones(4)) == 0
    assert expected.error(np.array([1, np.nan, 1])) == np.inf
    assert expected.error(np.ones((4, 3))) == np.inf


def test_updates_are_compared_by_the_inputs_they_change():
    work = first(optimizer, "Adam LeNet-5")
    arrays = work.arrays("float32")
    expected = accuracy.expect_forward(work, arrays)
    assert set(expected) == {"param", "exp_avg", "exp_avg_sq"}
    copies = tuple(None if a is None else a.copy() for a in arrays)
    cpu.forward(work.op, accuracy.specs_of(copies), copies)
    results = dict(zip(work.op.inputs, copies, strict=True))
    assert accuracy.worst(expected, results) < 1e-6
    untouched = dict(zip(work.op.inputs, arrays, strict=True))
    assert accuracy.worst(expected, untouched) > 1e-4


def test_no_expectation_means_no_error():
    assert accuracy.worst({}, {"y": np.ones(3)}) is None
