"""What the pools' declarations leave out: PyTorch's indices, windows of padding alone, sizes."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl.nn.functional as F
from gpudl.ops.pool import MaxPool2dOp
from gpudl.tensor import Tensor
from tests.ops.harness import native_devices

SETTINGS = [
    {"kernel_size": 2},
    {"kernel_size": (3, 2), "stride": (2, 1), "padding": 1, "ceil_mode": True},
    {"kernel_size": 2, "stride": 1, "dilation": (2, 3), "padding": (1, 0)},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("special", [0.0, np.nan])
def test_indices_are_pytorchs(settings, special):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(-2, 2, (2, 3, 9, 8)).astype(np.float32)  # full of ties
    x[x == -2] = special
    y, indices = F.max_pool2d(Tensor(x), **settings, return_indices=True)
    want_y, want = torch.nn.functional.max_pool2d(torch.tensor(x), **settings, return_indices=True)
    np.testing.assert_array_equal(y.numpy(), want_y.numpy())
    np.testing.assert_array_equal(indices.numpy(), want.numpy())


@pytest.mark.parametrize("where", ["cpu", *native_devices()])
def test_a_window_of_padding_alone_is_minus_infinity_without_a_gradient(where):
    x = Tensor(np.ones((1, 2, 1, 3), np.float32), device=where, requires_grad=True)
    y = F.max_pool2d(x, 2, stride=1, padding=1, dilation=2)
    assert y.shape == (1, 2, 1, 3)
    assert np.isneginf(np.asarray(y)).all()
    y.backward(Tensor(np.ones(y.shape, np.float32), device=where))
    assert x.grad is not None
    np.testing.assert_array_equal(np.asarray(x.grad), 0)


def test_shapes_are_pytorchs():
    """Sizes, kernels, strides and paddings in all small combinations."""
    torch = pytest.importorskip("torch")
    for size in range(1, 8):
        for kernel in range(1, 5):
            for stride in range(1, 4):
                for padding in range(kernel // 2 + 1):
                    for ceil in (False, True):
                        op = MaxPool2dOp.of((kernel, 1), (stride, 1), (padding, 0), (1, 1), ceil)
                        try:
                            x = torch.zeros(1, 1, size, 1)
                            want = torch.nn.functional.max_pool2d(
                                x, (kernel, 1), (stride, 1), (padding, 0), 1, ceil
                            ).shape[2]
                        except RuntimeError:
                            want = 0
                        assert op.outputs_along(size, 0) == want, (op, size)
