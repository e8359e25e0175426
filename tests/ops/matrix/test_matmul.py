"""matmul, mm, bmm and linear, beyond what tests/ops/test_all.py derives from the declarations."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
from gpudl import Tensor
from gpudl.autograd.tensor import tensor
from gpudl.core.machine import H100
from gpudl.core.op import Spec
from gpudl.devices import modules
from gpudl.nn import functional
from gpudl.ops.matrix.linear import LinearOp
from tests.ops import harness as h


def normal(*shape: int):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


SHAPES = [
    ((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 5)), ((3, 4), (4, 5)),
    ((2, 3, 4), (4,)), ((4,), (2, 4, 5)), ((2, 3, 4), (4, 5)), ((3, 4), (2, 4, 5)),
    ((2, 3, 4), (2, 4, 5)), ((2, 1, 3, 4), (6, 4, 5)), ((2, 1, 3, 4), (1, 6, 4, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("left", "right"), SHAPES)
def test_shapes_broadcast_as_in_numpy(left, right):
    a, b = tensor(normal(*left), requires_grad=True), tensor(normal(*right), requires_grad=True)
    y = gpudl.matmul(a, b)
    want = np.matmul(a.detach().numpy(), b.detach().numpy())
    assert y.shape == want.shape
    np.testing.assert_allclose(y.detach().numpy(), want, rtol=1e-5, atol=1e-5)
    y.backward(tensor(np.ones(want.shape, np.float32)))
    assert a.grad.shape == left
    assert b.grad.shape == right


def test_operator_and_arrays():
    a, b = normal(3, 4), normal(4, 5)
    want = a @ b
    for y in (tensor(a) @ tensor(b), a @ tensor(b), tensor(a) @ b):
        assert isinstance(y, Tensor)
        np.testing.assert_allclose(y.numpy(), want, rtol=1e-6, atol=1e-6)


def test_mm_and_bmm_refuse_other_shapes():
    matrix, stack = tensor(normal(3, 3)), tensor(normal(2, 3, 3))
    assert gpudl.mm(matrix, matrix).shape == (3, 3)
    assert gpudl.bmm(stack, stack).shape == (2, 3, 3)
    with pytest.raises(ValueError, match=r"mm: mat2 has shape \(2, 3, 3\); it must have 2 axes"):
        gpudl.mm(matrix, stack)
    with pytest.raises(ValueError, match="bmm: input has shape"):
        gpudl.bmm(matrix, stack)
    with pytest.raises(ValueError, match="bmm: mat2 has 1 matrices; it must have 2"):
        gpudl.bmm(stack, stack[:1])


def test_linear_without_activation_does_not_keep_its_result():
    x, w = tensor(normal(5, 4)), tensor(normal(3, 4), requires_grad=True)
    y = functional.linear(x, w)
    y.array += 1  # as an in-place update does, together with the version
    y._cell[0] += 1
    y.backward(tensor(np.ones((5, 3), np.float32)))
    np.testing.assert_allclose(w.grad.numpy(), np.ones((3, 5)) @ x.numpy(), rtol=1e-5)


@h.needs_emulator
def test_workspace_is_only_for_pieces_that_pay_off():
    def workspace(m: int, n: int, k: int, batch: int = 1) -> int:
        """For the gradient of a, one (m, n) matrix, in a stack of products with sums over k."""
        launcher = modules.launchers("emulator")["matmul_backward_simt"]
        b, a = np.zeros((batch, n, k), np.float32), np.zeros((m, n), np.float32)
        dy = np.zeros((batch, m, k), np.float32)
        given = {"dy": dy, "a": a.T.copy(), "b": b, "transpose_a": True, "transpose_b": False}
        return launcher.workspace(*(given.get(p.name) for p in launcher.parameters))

    pieces = modules.load("emulator").gemm_pieces
    assert workspace(1024, 1024, 4096) == 0  # enough tiles
    assert workspace(64, 64, 256) == 0  # too short
    assert workspace(10, 84, 4096) == pieces(10, 84, 4096, 1) * 10 * 84 > 0
    assert workspace(8, 8, 8, batch=3) == 3 * 8 * 8
    assert workspace(0, 8, 8) == 0


@h.needs_emulator
def test_pieces_fill_the_multiprocessors():
    pieces = modules.load("emulator").gemm_pieces
    for m, n, k in [(10, 84, 4096), (256, 256, 8192), (64, 4096, 2048), (512, 512, 512)]:
        blocks = -(-m // 64) * -(-n // 64) * pieces(m, n, k, 1)
        assert blocks <= H100.multiprocessors, (m, n, k)  # one wave
    assert pieces(256, 256, 8192, 1) * 16 > 66  # blocks on more than half of 132 multiprocessors
    assert pieces(4096, 4096, 64, 1) == pieces(4096, 4096, 1, 1) == pieces(5, 5, 0, 1) == 1


@pytest.mark.parametrize("where", ["cpu", pytest.param("emulator", marks=h.needs_emulator)])
def test_linear_with_relu_passes_nan_and_keeps_bits_instead_of_y(where):
    x, weight = normal(5, 3), normal(10, 3)
    x[2, 1] = np.nan
    inputs = [tensor(a, device=where, requires_grad=True) for a in (x, weight, normal(10))]
    y = functional.linear(*inputs, activation="relu")
    assert np.isnan(np.asarray(y)[2]).all()
    y.sum().backward()
    passed = ~(np.asarray(y) <= 0)
    np.testing.assert_allclose(np.asarray(inputs[0].grad), passed @ weight, rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(inputs[2].grad), passed.sum(0))
    y = functional.linear(*inputs, activation="relu")
    y *= 2
    if where == "cpu":  # backward reads y there
        with pytest.raises(RuntimeError, match="changed in place"):
            y.sum().backward()
    else:
        y.sum().backward()


@h.needs_emulator
@pytest.mark.parametrize("bits", [False, True])
def test_linear_uses_tma_only_for_aligned_rows(bits):
    half = np.dtype(np.float16)
    op = LinearOp.of("relu", bits)
    specs = [Spec(shape, half) for shape in ((16, 24), (40, 24), (40,))]
    kernel = modules.launchers("emulator")["linear_forward_wgmma_f16"]
    assert op.supports(kernel, *specs)
    assert not op.supports(kernel, Spec((16, 20), half), Spec((40, 20), half), specs[2])
