"""Clipping of gradients against torch.nn.utils."""

import math

import numpy as np
import pytest

import gpudl
from gpudl.autograd.tensor import Tensor
from gpudl.nn import utils
from tests.ops.harness import native_devices

everywhere = pytest.mark.parametrize("where", [pytest.param("cpu"), *native_devices()])
RNG_SHAPES = [(3, 4), (5,), (2, 3, 2, 2)]


def pair(where, scale=1.0):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    arrays = [(scale * rng.standard_normal(s)).astype(np.float32) for s in RNG_SHAPES]
    ours = [gpudl.zeros(*s, device=where, requires_grad=True) for s in (*RNG_SHAPES, (2,))]
    theirs = [torch.zeros(*s, requires_grad=True) for s in (*RNG_SHAPES, (2,))]
    for p, q, a in zip(ours, theirs, arrays, strict=False):
        p.grad, q.grad = Tensor(a.copy(), device=where), torch.tensor(a)
    return torch, ours, theirs


def compare(ours, theirs):
    for p, q in zip(ours, theirs, strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            np.testing.assert_allclose(np.asarray(p.grad), q.grad.numpy(), rtol=2e-6)


@everywhere
@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1000.0])
def test_norm(where, norm_type, max_norm):
    torch, ours, theirs = pair(where)
    got = utils.clip_grad_norm_(ours, max_norm, norm_type)
    want = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    assert got.item() == pytest.approx(want.item(), rel=1e-6)
    compare(ours, theirs)


@everywhere
def test_value(where):
    torch, ours, theirs = pair(where)
    utils.clip_grad_value_(ours, 0.5)
    torch.nn.utils.clip_grad_value_(theirs, 0.5)
    compare(ours, theirs)


def test_edges():
    p = gpudl.zeros(3, requires_grad=True)
    assert utils.clip_grad_norm_(p, 1.0).item() == 0
    p.grad = Tensor(np.array([1, np.inf, 0], np.float32))
    with pytest.raises(RuntimeError, match="norm is inf"):
        utils.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
    p.grad = Tensor(np.array([3, 4, 0], np.float32))
    assert utils.clip_grad_norm_([p, p], 1.0).item() == 5  # tied: counted once
    np.testing.assert_allclose(p.grad.numpy(), [0.6, 0.8, 0], rtol=1e-6)


@pytest.mark.parametrize("where", native_devices())
def test_all_gradients_are_clipped_by_one_launch(where, monkeypatch):
    _, ours, _ = pair(where)
    device, calls = ours[0].device, []
    forward = type(device).forward
    monkeypatch.setattr(
        type(device), "forward", lambda *a, **k: calls.append(a[1].name) or forward(*a, **k)
    )
    utils.clip_grad_norm_(ours, 0.5)
    utils.clip_grad_value_(ours, 0.5)
    assert calls == ["vector_norm", "clip_norm", "clip_value"]


@everywhere
def test_gradients_of_any_memory_order_and_dtype(where):
    """Channels last, with gaps, and two dtypes, as in PyTorch."""
    torch, ours, theirs = pair(where)
    stored = np.asarray(ours[2].grad).transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)
    spread = np.zeros(10, np.float32)
    spread[::2] = np.asarray(ours[1].grad)
    device = ours[0].device
    ours[2].grad = Tensor.from_array(device.asarray(stored), device)
    ours[1].grad = Tensor.from_array(device.asarray(spread)[::2], device)
    if where == "cpu":
        ours[0].grad, theirs[0].grad = ours[0].grad.double(), None
        theirs[0].data = theirs[0].data.double()
        theirs[0].grad = torch.tensor(np.asarray(ours[0].grad))
    utils.clip_grad_norm_(ours, 0.5)
    torch.nn.utils.clip_grad_norm_(theirs, 0.5)
    compare(ours, theirs)
    utils.clip_grad_value_(ours, 0.1)
    torch.nn.utils.clip_grad_value_(theirs, 0.1)
    compare(ours, theirs)


@everywhere
def test_a_norm_that_is_not_finite_gives_nan_as_in_pytorch(where):
    torch, ours, theirs = pair(where, scale=math.inf)
    utils.clip_grad_norm_(ours, 0.5)
    torch.nn.utils.clip_grad_norm_(theirs, 0.5)
    compare(ours, theirs)
