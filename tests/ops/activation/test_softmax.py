"""softmax along every axis; the declarations only test the last."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl.nn.functional as F
from gpudl.autograd.tensor import Tensor
from tests.ops.harness import native_devices


@pytest.mark.parametrize("where", ["cpu", *native_devices()])
@pytest.mark.parametrize("dim", [0, 1, 2, 3, -1, -3])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_every_axis_agrees_with_pytorch(where, dim, name):
    torch = pytest.importorskip("torch")
    array = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
    x = Tensor(array, device=where, requires_grad=True)
    y = getattr(F, name)(x, dim)
    y.backward(Tensor(array, device=where))
    their_x = torch.tensor(array, requires_grad=True)
    theirs = getattr(torch, name)(their_x, dim)
    theirs.backward(torch.tensor(array))
    np.testing.assert_allclose(np.asarray(y), theirs.detach().numpy(), rtol=1e-5, atol=1e-7)
    assert x.grad is not None
    np.testing.assert_allclose(np.asarray(x.grad), their_x.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_an_axis_out_of_range_is_refused():
    with pytest.raises(IndexError, match="softmax: dim is 2; it must be from -2 to 1 for 2 axes"):
        F.softmax(Tensor(np.zeros((2, 2), np.float32)), 2)
