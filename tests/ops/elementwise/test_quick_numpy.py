"""The fast NumPy forms: selection by bit masks, vectorised functions, work in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from gpudl.core.op import OPS
from gpudl.devices.find import cpu
from gpudl.ops.elementwise import quick_numpy
from gpudl.ops.elementwise.quick_numpy import quick
from tests.ops import harness as h
from tests.ops.test_all import check_backward, compare, dtype_kind
from tests.tolerance import assert_close

SPECIAL = np.array([-np.inf, -90, -1, -1e-6, -0.0, 0, 1e-6, 0.5, 1, 20, 88, np.inf, np.nan])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("yes", "no"), [("x", "y"), ("x", 0), (0, "y"), (-0.0, "y"), ("x", 2.5)])
def test_where_selects_the_same_bits(yes, no, dtype):
    arrays = {"x": SPECIAL.astype(dtype), "y": SPECIAL[::-1].astype(dtype)}
    yes, no = arrays.get(yes, yes), arrays.get(no, no)
    condition = np.arange(SPECIAL.size) % 3 == 0
    got, want = quick.where(condition, yes, no), np.where(condition, yes, no)
    assert got.dtype == want.dtype
    assert got.tobytes() == want.tobytes()


def test_where_falls_back_to_numpy_for_other_dtypes_and_shapes():
    column, row = np.array([[True], [False]]), np.arange(3, dtype=np.float32)
    np.testing.assert_array_equal(quick.where(column, row, 0), np.where(column, row, 0))
    assert quick.where(row > 1, row, np.float64(1)).dtype == np.float64


@np.errstate(all="ignore")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_expm1_and_logaddexp(dtype):
    x = np.concatenate([SPECIAL, np.linspace(-20, 20, 1001)]).astype(dtype)
    assert_close(quick.expm1(x), np.expm1(x), dtype)
    assert_close(quick.expm1(x[x < 0]), np.expm1(x[x < 0]), dtype)
    a, b = np.meshgrid(SPECIAL.astype(dtype), SPECIAL.astype(dtype))
    assert_close(quick.logaddexp(a, b), np.logaddexp(a, b), dtype)


IN_PIECES = [c for c in h.GOOD if {"pieces", "rational"} & set(c.op.cpu)]


@pytest.mark.parametrize("case", IN_PIECES, ids=h.label)
def test_many_pieces_equal_the_definition(case, monkeypatch):
    monkeypatch.setattr(quick_numpy, "CHUNK", 7)
    op, arrays, kind = case.op, h.draw(case), dtype_kind(case)
    got = h.results(op, arrays, cpu.forward(op, h.specs_of(arrays), arrays))
    compare(case, got, h.results(op, *h.reference(case)), kind, "in pieces")
    check_backward(case, cpu.backward, cpu, kind, "quick")


def test_pieces_follow_the_memory_order():
    x = np.arange(24, dtype=np.float32).reshape(2, 4, 3).transpose(0, 2, 1)
    (y,) = OPS["sigmoid"].of().forward_pieces(np, x)
    ((_, (first, second)),) = quick_numpy.pieces((x, x.copy(order="C")))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, np.arange(24))
    assert np.shares_memory(first, x)
    assert y.shape == x.shape
