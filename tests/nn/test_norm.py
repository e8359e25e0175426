"""Normalisation layers against PyTorch's of the same name, weights and gradients included."""

from __future__ import annotations

import numpy as np
import pytest

from gpudl import nn
from gpudl.tensor import Tensor
from tests.ops.harness import native_devices

LAYERS = [
    ("LayerNorm", (6,), {}, (4, 5, 6)),
    ("LayerNorm", ((5, 6),), {"bias": False, "eps": 1e-3}, (4, 5, 6)),
    ("LayerNorm", (6,), {"elementwise_affine": False}, (4, 6)),
    ("RMSNorm", (6,), {}, (4, 5, 6)),
    ("Softmin", (1,), {}, (4, 5, 6)),
    ("Softmax2d", (), {}, (2, 5, 3, 4)),
]


@pytest.mark.parametrize("where", ["cpu", *native_devices()])
@pytest.mark.parametrize(("name", "args", "options", "shape"), LAYERS)
def test_layer_is_pytorchs(where, name, args, options, shape):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    ours = getattr(nn, name)(*args, **options)
    theirs = getattr(torch.nn, name)(*args, **options)
    own, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    assert own.keys() == other.keys()
    for key, parameter in other.items():
        values = rng.standard_normal(parameter.shape).astype(np.float32)
        parameter.data = torch.tensor(values)
        own[key].data[...] = values
    ours.to(where)
    x, dy = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    a, b = Tensor(x, device=where, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, y_ = ours(a), theirs(b)
    y.backward(Tensor(dy, device=where))
    y_.backward(torch.tensor(dy))
    np.testing.assert_allclose(np.asarray(y), y_.detach().numpy(), atol=5e-6)
    np.testing.assert_allclose(np.asarray(a.grad), b.grad.numpy(), atol=2e-5)
    for key, parameter in dict(ours.named_parameters()).items():
        np.testing.assert_allclose(np.asarray(parameter.grad), other[key].grad.numpy(), atol=2e-5)
    for key, buffer in dict(theirs.named_buffers()).items():
        np.testing.assert_allclose(np.asarray(dict(ours.named_buffers())[key]), buffer, atol=2e-6)
