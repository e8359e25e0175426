"""Pools beyond what tests/ops/test_all.py derives from the declarations: indices, sizes, layers."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl.nn.functional as F
from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.ops.pool.max import MaxPoolOp
from tests.ops.harness import native_devices
from tests.tolerance import assert_close

SETTINGS = [
    {"kernel_size": 2},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "ceil_mode": True},
    {"kernel_size": 2, "stride": 1, "dilation": (2, 3), "padding": (1, 0)},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("special", [0.0, np.nan])
def test_indices_agree_with_pytorch(settings, special):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(-2, 2, (2, 3, 9, 8)).astype(np.float32)  # full of ties
    x[x == -2] = special
    y, indices = F.max_pool2d(Tensor(x), **settings, return_indices=True)
    want_y, want = torch.nn.functional.max_pool2d(torch.tensor(x), **settings, return_indices=True)
    np.testing.assert_array_equal(y.numpy(), want_y.numpy())
    np.testing.assert_array_equal(indices.numpy(), want.numpy())


@pytest.mark.parametrize("where", ["cpu", *native_devices()])
def test_a_window_of_only_padding_is_minus_infinity_and_has_no_gradient(where):
    x = Tensor(np.ones((1, 2, 1, 3), np.float32), device=where, requires_grad=True)
    y = F.max_pool2d(x, 2, stride=1, padding=1, dilation=2)
    assert y.shape == (1, 2, 1, 3)
    assert np.isneginf(np.asarray(y)).all()
    y.backward(Tensor(np.ones(y.shape, np.float32), device=where))
    assert x.grad is not None
    np.testing.assert_array_equal(np.asarray(x.grad), 0)


FUNCTIONS = [
    ("max_pool1d", (2, 3, 9), {"kernel_size": 3, "stride": 2, "return_indices": True}),
    ("max_pool3d", (2, 4, 5, 6), {"kernel_size": 2, "padding": 1, "return_indices": True}),
    ("avg_pool1d", (3, 9), {"kernel_size": 3, "padding": 1, "count_include_pad": False}),
    ("avg_pool3d", (1, 2, 4, 5, 6), {"kernel_size": (1, 2, 3), "divisor_override": 4}),
    ("lp_pool2d", (2, 3, 6, 5), {"norm_type": 2, "kernel_size": 2, "ceil_mode": True}),
    ("adaptive_max_pool1d", (2, 3, 7), {"output_size": 3, "return_indices": True}),
    ("adaptive_max_pool2d", (3, 6, 7), {"output_size": (3, None), "return_indices": True}),
    ("adaptive_avg_pool2d", (2, 3, 6, 8), {"output_size": (3, 2)}),
    ("adaptive_avg_pool3d", (1, 3, 3, 4, 5), {"output_size": (None, 3, 1)}),
]


@pytest.mark.parametrize(("name", "shape", "settings"), FUNCTIONS, ids=str)
def test_functions_agree_with_pytorch(name, shape, settings):
    """Batched and unbatched inputs, indices, and sizes of None."""
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    ours = getattr(F, name)(Tensor(x), **settings)
    theirs = getattr(torch.nn.functional, name)(torch.tensor(x), **settings)
    pairs = zip(ours, theirs, strict=True) if isinstance(ours, tuple) else [(ours, theirs)]
    for got, want in pairs:
        assert_close(got.numpy(), want.numpy())


@pytest.mark.parametrize("where", ["cpu", *native_devices()])
def test_unpooling_undoes_pooling_and_the_last_of_equal_indices_wins(where):
    x = Tensor(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4), device=where)
    y, indices = F.max_pool2d(x, 2, return_indices=True)
    back = np.asarray(F.max_unpool2d(y, indices, 2))
    np.testing.assert_array_equal(back[0, 0, 1::2, 1::2], [[5, 7], [13, 15]])
    assert np.count_nonzero(back) == 4
    assert F.max_unpool2d(y, indices, 2, output_size=(1, 1, 5, 4)).shape == (1, 1, 5, 4)
    values = Tensor(np.array([[[1, 2, 3]]], np.float32), device=where)
    places = Tensor(np.array([[[4, 0, 4]]]), device=where)
    y = F.max_unpool1d(values, places, 2, output_size=(5,))
    np.testing.assert_array_equal(np.asarray(y), [[[2, 0, 0, 0, 3]]])
    with pytest.raises(ValueError, match="max_unpool2d: output_size"):
        F.max_unpool2d(x, x, 2, output_size=(4, 4))


def test_layers_agree_with_pytorch():
    """The same names, order of arguments and outputs."""
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(2).random((2, 3, 6, 7)).astype(np.float32)
    for name, arguments in [
        ("MaxPool2d", (3, 2, 1, 1, False, True)),
        ("AvgPool2d", (3, 2, 1, True, False, 5)),
        ("LPPool2d", (3, 2, 1, True)),
        ("AdaptiveMaxPool2d", ((4, 3),)),
        ("AdaptiveAvgPool2d", ((None, 2),)),
    ]:
        got = getattr(nn, name)(*arguments)(Tensor(x))
        want = getattr(torch.nn, name)(*arguments)(torch.tensor(x))
        assert_close(got.numpy(), want.numpy(), what=name)


def test_shapes_agree_with_pytorch():
    """All combinations of small sizes, kernels, strides and paddings."""
    torch = pytest.importorskip("torch")
    for size in range(1, 8):
        for kernel in range(1, 5):
            for stride in range(1, 4):
                for padding in range(kernel // 2 + 1):
                    for ceil in (False, True):
                        op = MaxPoolOp.of((kernel, 1), (stride, 1), (padding, 0), (1, 1), ceil)
                        try:
                            x = torch.zeros(1, 1, size, 1)
                            want = torch.nn.functional.max_pool2d(
                                x, (kernel, 1), (stride, 1), (padding, 0), 1, ceil
                            ).shape[2]
                        except RuntimeError:
                            want = 0
                        assert op.outputs_along(size, 0) == want, (op, size)
