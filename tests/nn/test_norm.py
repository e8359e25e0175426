"""Normalisation layers against PyTorch's, weights and gradients included."""

from __future__ import annotations

import numpy as np
import pytest

from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.nn import functional as F
from tests.ops.harness import native_devices

LAYERS = [
    ("LayerNorm", (6,), {}, (4, 5, 6)),
    ("LayerNorm", ((5, 6),), {"bias": False, "eps": 1e-3}, (4, 5, 6)),
    ("LayerNorm", (6,), {"elementwise_affine": False}, (4, 6)),
    ("RMSNorm", (6,), {}, (4, 5, 6)),
    ("GroupNorm", (2, 6), {}, (3, 6, 4, 2)),
    ("GroupNorm", (3, 6), {"affine": False}, (3, 6)),
    ("InstanceNorm1d", (5,), {}, (3, 5, 4)),
    ("InstanceNorm2d", (8,), {"affine": True}, (2, 8, 4, 3)),
    ("InstanceNorm2d", (3,), {"track_running_stats": True}, (2, 3, 4, 3)),
    ("InstanceNorm3d", (3,), {"track_running_stats": True}, (3, 2, 4, 3)),
    ("LocalResponseNorm", (5,), {"alpha": 0.3}, (2, 12, 3, 2)),
    ("Softmin", (1,), {}, (4, 5, 6)),
    ("Softmax2d", (), {}, (2, 5, 3, 4)),
]


@pytest.mark.parametrize("device", ["cpu", *native_devices()])
@pytest.mark.parametrize(("name", "args", "options", "shape"), LAYERS)
def test_layers_agree_with_pytorch(device, name, args, options, shape):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    ours = getattr(nn, name)(*args, **options)
    theirs = getattr(torch.nn, name)(*args, **options)
    own, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    assert own.keys() == other.keys()
    for key, parameter in other.items():
        values = rng.standard_normal(parameter.shape).astype(np.float32)
        parameter.data = torch.tensor(values)
        own[key].array[...] = values
    ours.to(device)
    x, dy = (rng.standard_normal(shape).astype(np.float32) for _ in range(2))
    a, b = Tensor(x, device=device, requires_grad=True), torch.tensor(x, requires_grad=True)
    ours(a), theirs(b)  # running statistics move twice
    y, y_ = ours(a), theirs(b)
    y.backward(Tensor(dy, device=device))
    y_.backward(torch.tensor(dy))
    np.testing.assert_allclose(np.asarray(y), y_.detach().numpy(), atol=5e-6)
    np.testing.assert_allclose(np.asarray(a.grad), b.grad.numpy(), atol=2e-5)
    for key, parameter in dict(ours.named_parameters()).items():
        np.testing.assert_allclose(np.asarray(parameter.grad), other[key].grad.numpy(), atol=2e-5)
    for key, buffer in dict(theirs.named_buffers()).items():
        np.testing.assert_allclose(np.asarray(dict(ours.named_buffers())[key]), buffer, atol=2e-6)


def test_instance_norm_uses_running_statistics_in_evaluation():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(1).standard_normal((2, 3, 4, 5)).astype(np.float32)
    ours = nn.InstanceNorm2d(3, track_running_stats=True)
    theirs = torch.nn.InstanceNorm2d(3, track_running_stats=True)
    ours(Tensor(x)), theirs(torch.tensor(x))
    y, y_ = ours.eval()(Tensor(x)), theirs.eval()(torch.tensor(x))
    np.testing.assert_allclose(np.asarray(y), y_.numpy(), atol=2e-6)


def test_invalid_inputs_are_refused():
    with pytest.raises(ValueError, match="GroupNorm: num_channels is 5"):
        nn.GroupNorm(2, 5)
    with pytest.raises(ValueError, match=r"InstanceNorm2d: input is \[2, 4, 3, 3\]"):
        nn.InstanceNorm2d(3)(Tensor(np.zeros((2, 4, 3, 3), np.float32)))
    with pytest.raises(ValueError, match="instance_norm: input is"):
        nn.InstanceNorm1d(3)(Tensor(np.zeros((2, 3, 1), np.float32)))


@pytest.mark.parametrize("device", ["cpu", *native_devices()])
def test_normalize_agrees_with_pytorch(device):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(2).standard_normal((4, 5, 3)).astype(np.float32)
    x[1] = 0
    for options in ({}, {"p": 1.0, "dim": -1}, {"p": 3.0, "dim": 0}):
        a, b = Tensor(x, device=device, requires_grad=True), torch.tensor(x, requires_grad=True)
        y, y_ = F.normalize(a, **options), torch.nn.functional.normalize(b, **options)
        (y * y * y).sum().backward()
        (y_ * y_ * y_).sum().backward()
        np.testing.assert_allclose(np.asarray(y), y_.detach().numpy(), atol=1e-6)
        np.testing.assert_allclose(np.asarray(a.grad), b.grad.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    "layer", [nn.BatchNorm1d(4), nn.InstanceNorm1d(4, track_running_stats=True)]
)
def test_weights_published_before_batches_were_counted_load(layer):
    state = {n: t for n, t in layer.state_dict().items() if n != "num_batches_tracked"}
    net = nn.Sequential(layer, nn.Sequential(layer))
    saved = {f"{at}.{name}": t + 2 for name, t in state.items() for at in ("0", "1.0")}
    result = net.load_state_dict(saved)
    assert result.missing_keys == []
    np.testing.assert_array_equal(layer.running_mean.numpy(), np.full(4, 2))
    del saved["1.0.running_mean"]
    with pytest.raises(KeyError, match=r"missing keys \['1.0.running_mean'"):
        net.load_state_dict(saved)
