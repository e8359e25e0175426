"""What the losses leave out of their declarations: labels out of range on a device, a mean over
nothing, and the public functions' axes against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl.nn.functional as F
from gpudl.tensor import Tensor
from tests.ops.harness import native_devices

everywhere = pytest.mark.parametrize("where", ["cpu", *native_devices()])


def logits(*shape: int, where: str = "cpu") -> Tensor:
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return Tensor(x, device=where, requires_grad=True)


@pytest.mark.parametrize("where", native_devices())
@pytest.mark.parametrize("wrong", [3, -1, 2**40])
def test_a_wrong_label_on_a_device_is_a_nan_loss_of_its_row_alone(where, wrong):
    x = logits(3, 3, where=where)
    target = Tensor(np.array([0, wrong, 2]), device=where)
    losses = F.cross_entropy(x, target, reduction="none")
    assert np.isnan(np.asarray(losses)).tolist() == [False, True, False]
    assert np.isnan(np.asarray(F.cross_entropy(x, target)))
    losses.backward(Tensor(np.ones(3, np.float32), device=where))
    assert x.grad is not None
    assert np.isnan(np.asarray(x.grad)).all(1).tolist() == [False, True, False]


def test_a_wrong_label_on_the_cpu_is_named():
    with pytest.raises(IndexError, match=r"cross_entropy: target has the label 3; .* 0 to 2"):
        F.cross_entropy(logits(2, 3), Tensor(np.array([0, 3])))


@everywhere
def test_a_mean_over_ignored_labels_alone_is_nan_without_a_gradient(where):
    x = logits(2, 3, where=where)
    loss = F.cross_entropy(x, Tensor(np.array([-100, -100]), device=where))
    assert np.isnan(np.asarray(loss))
    loss.backward()
    assert x.grad is not None
    np.testing.assert_array_equal(np.asarray(x.grad), 0)


@everywhere
@pytest.mark.parametrize("name", ["cross_entropy", "nll_loss"])
def test_classes_are_axis_1_as_in_pytorch(where, name):
    torch = pytest.importorskip("torch")
    x = logits(2, 5, 3, 4, where=where)
    labels = np.random.default_rng(1).integers(0, 5, (2, 3, 4))
    loss = getattr(F, name)(x, Tensor(labels, device=where))
    loss.backward()
    their_x = torch.tensor(np.asarray(x), requires_grad=True)
    theirs = getattr(torch.nn.functional, name)(their_x, torch.tensor(labels))
    theirs.backward()
    np.testing.assert_allclose(np.asarray(loss), theirs.detach().numpy(), rtol=1e-6)
    assert x.grad is not None
    np.testing.assert_allclose(np.asarray(x.grad), their_x.grad.numpy(), rtol=1e-5, atol=1e-8)


def test_an_unknown_reduction_is_refused():
    with pytest.raises(ValueError, match="reduction is 'average'; it must be mean, sum or none"):
        F.mse_loss(logits(2), logits(2), reduction="average")
