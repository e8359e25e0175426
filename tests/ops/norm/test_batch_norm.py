"""batch_norm beyond what tests/ops/test_all.py derives from the declaration: large means, memory
order, running statistics, empty batches."""

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.autograd.tensor import Tensor
from gpudl.nn import functional as F
from tests.ops.harness import native_devices

EVERYWHERE = [pytest.param("cpu"), *native_devices()]
everywhere = pytest.mark.parametrize("where", EVERYWHERE)


def vectors(channels, device):
    return [Tensor(np.full(channels, v, np.float32), device=device) for v in (0, 1)]


@everywhere
def test_variance_survives_a_mean_ten_thousand_times_larger(where):
    """Mean of squares minus squared mean would lose all digits of the variance."""
    rng = np.random.default_rng(0)
    x = (1e4 + rng.standard_normal((64, 2, 5, 5))).astype(np.float32)
    mean, var = vectors(2, where)
    F.batch_norm(Tensor(x, device=where), mean, var, training=True, momentum=1.0)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(np.asarray(mean), exact.mean((0, 2, 3)), rtol=2e-7)
    np.testing.assert_allclose(np.asarray(var), exact.var((0, 2, 3), ddof=1), rtol=1e-5)


@everywhere
def test_running_statistics_follow_pytorch_over_steps(where):
    torch = pytest.importorskip("torch")
    layer = torch.nn.BatchNorm2d(3, momentum=0.3)
    mean, var = vectors(3, where)
    rng = np.random.default_rng(1)
    for _ in range(5):
        x = rng.standard_normal((4, 3, 5, 2)).astype(np.float32) * 2 + 1
        ours = F.batch_norm(Tensor(x, device=where), mean, var, training=True, momentum=0.3)
        theirs = layer(torch.tensor(x))
        np.testing.assert_allclose(np.asarray(ours), theirs.detach().numpy(), atol=2e-6)
    np.testing.assert_allclose(np.asarray(mean), layer.running_mean.numpy(), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(var), layer.running_var.numpy(), rtol=1e-6)


def test_channels_last_memory_gives_the_same_results_on_the_cpu():
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 5, 4, 2)).astype(np.float32)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    results = []
    for array in (x, last):
        tensor = Tensor(array, requires_grad=True)
        y = F.batch_norm(tensor, None, None, training=True, activation="relu")
        y.backward(Tensor(np.cos(x)))
        results.append((np.asarray(y), np.asarray(tensor.grad)))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)


@everywhere
def test_output_may_be_overwritten_if_backward_does_not_read_it(where):
    x = Tensor(np.random.default_rng(3).standard_normal((6, 4)).astype(np.float32), device=where)
    x.requires_grad = True
    F.relu(F.batch_norm(x, None, None, training=True), inplace=True).backward(
        gpudl.ones(6, 4, device=where)
    )
    assert x.grad is not None
    y = F.batch_norm(x, None, None, training=True, activation="relu")
    with pytest.raises(RuntimeError, match="changed in place"):
        F.relu(y, inplace=True).backward(gpudl.ones(6, 4, device=where))


@everywhere
def test_one_spatial_axis(where):
    x = Tensor(np.random.default_rng(4).standard_normal((6, 4, 3)).astype(np.float32), device=where)
    y = F.batch_norm(x, None, None, training=True)
    flat = F.batch_norm(
        Tensor(np.asarray(x).transpose(0, 2, 1).reshape(18, 4), device=where),
        None,
        None,
        training=True,
    )
    again = np.asarray(flat).reshape(6, 3, 4).transpose(0, 2, 1)
    np.testing.assert_allclose(np.asarray(y), again, atol=1e-6)


@everywhere
@pytest.mark.parametrize(
    ("name", "shape"), [("BatchNorm2d", (3, 8, 4, 2)), ("BatchNorm3d", (2, 5, 2, 3, 2))]
)
def test_fused_layer_equals_separate_layers(where, name, shape):
    """Activation and residual inside the kernel; 8 channels save a bit mask, 5 save the output."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    arrays = [rng.standard_normal(shape).astype(np.float32) for _ in range(3)]
    fused = getattr(nn, name)(shape[1], momentum=None, activation="relu").to(where)
    theirs = getattr(torch.nn, name)(shape[1], momentum=None)
    for _ in range(2):  # momentum=None averages over both batches
        x, shortcut = (Tensor(a, device=where, requires_grad=True) for a in arrays[:2])
        y = fused(x, shortcut)
        y.backward(Tensor(arrays[2], device=where))
        x_, shortcut_ = (torch.tensor(a, requires_grad=True) for a in arrays[:2])
        y_ = torch.relu(theirs(x_) + shortcut_)
        y_.backward(torch.tensor(arrays[2]))
        arrays[0] = arrays[0] * 2
    pairs = [(y, y_.detach()), (x.grad, x_.grad), (shortcut.grad, shortcut_.grad)]
    pairs += [(fused.running_var, theirs.running_var), (fused.weight.grad, theirs.weight.grad)]
    for ours, expected in pairs:
        np.testing.assert_allclose(np.asarray(ours), expected.numpy(), atol=5e-6)
    assert int(fused.num_batches_tracked.item()) == 2


@pytest.mark.parametrize("where", native_devices())
def test_arrays_may_be_unaligned(where):
    """Kernels use 16-byte accesses only on aligned arrays."""
    shape = (6, 8)
    values = np.random.default_rng(6).standard_normal(49).astype(np.float32)
    results = []
    for start in (0, 1):
        there = Tensor(np.roll(values, start), device=where)
        x = there[start : start + 48].reshape(shape).detach()
        x.requires_grad = True
        y = F.batch_norm(x, None, None, training=True, activation="relu")
        (y * y).sum().backward()
        results.append((np.asarray(y), np.asarray(x.grad)))
    for a, b in zip(*results, strict=True):
        np.testing.assert_array_equal(a, b)


@everywhere
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 2), (2, 3, 0), (0, 3, 2, 2)])
def test_an_empty_batch_is_counted_but_does_not_change_the_statistics(where, shape, training):
    torch = pytest.importorskip("torch")
    name = f"BatchNorm{max(1, len(shape) - 2)}d"
    ours, theirs = getattr(nn, name)(3).to(where), getattr(torch.nn, name)(3)
    leaves = (
        Tensor(np.zeros(shape, np.float32), device=where, requires_grad=True),
        torch.zeros(shape, requires_grad=True),
    )
    for layer, x in zip((ours, theirs), leaves, strict=True):
        layer.train(training)
        y = layer(x)
        assert tuple(y.shape) == shape
        y.sum().backward()
        assert tuple(x.grad.shape) == shape
    for key, want in theirs.state_dict().items():
        np.testing.assert_array_equal(np.asarray(ours.state_dict()[key]), want.numpy(), key)
    for name, parameter in theirs.named_parameters():
        gradient = dict(ours.named_parameters())[name].grad
        np.testing.assert_array_equal(np.asarray(gradient), parameter.grad.numpy(), name)


def test_an_empty_batch_needs_no_running_statistics():
    assert F.batch_norm(Tensor(np.zeros((0, 3), np.float32)), None, None, training=True).shape == (
        0,
        3,
    )


def test_more_channels_than_a_grid_allows_are_refused():
    pytest.importorskip("gpudl._emulator")
    many = gpudl.zeros(1, 65536 * 128, 1, device="emulator")
    with pytest.raises(ValueError, match="x: has 8388608 channels; at most 8388480"):
        F.group_norm(many, 1)
