"""Losses take PyTorch's arguments in PyTorch's order, the deprecated ones too."""

from inspect import signature

import numpy as np
import pytest

import gpudl
import gpudl.nn.functional as F
from gpudl import nn
from gpudl.core.public import functions
from gpudl.nn import loss

OLD = "size_average"
LOSSES = [n for n, f in functions("functional").items() if OLD in signature(f).parameters]
LAYERS = [n for n in loss.__all__ if OLD in signature(getattr(nn, n)).parameters]
X, Y = gpudl.tensor([1.0, 2.0, 4.0]), gpudl.tensor([0.0, 4.0, 4.0])


def test_the_deprecated_pair_is_known_to_all_losses():
    assert len(LOSSES) == 14
    assert len(LAYERS) == 14


PAIRS = [(a, b) for a in (None, True, False) for b in (None, True, False)][1:]


@pytest.mark.parametrize(("size_average", "reduce"), PAIRS)
def test_the_deprecated_pair_means_what_it_means_in_pytorch(size_average, reduce):
    wanted = "none" if reduce is False else "sum" if size_average is False else "mean"
    with pytest.warns(UserWarning, match=rf'mse_loss: .* pass reduction="{wanted}"') as warned:
        got = F.mse_loss(X, Y, size_average, reduce, "sum")
    assert warned[0].filename == __file__
    assert got.tolist() == F.mse_loss(X, Y, reduction=wanted).tolist()
    with pytest.warns(UserWarning, match=r"MSELoss: .* deprecated") as warned:
        layer = nn.MSELoss(size_average, reduce)
    assert warned[0].filename == __file__
    assert layer.reduction == wanted


@pytest.mark.parametrize("name", LOSSES)
def test_a_reduction_in_the_place_of_size_average_is_refused(name):
    with pytest.raises(TypeError, match=rf'^{name}: size_average is "sum"; pass reduction="sum"$'):
        getattr(F, name)(*[X] * count_inputs(getattr(F, name)), size_average="sum")


@pytest.mark.parametrize("name", LAYERS)
def test_a_reduction_in_the_place_of_a_layers_size_average_is_refused(name):
    with pytest.raises(TypeError, match=rf'^{name}: reduce is "none"; pass reduction="none"$'):
        getattr(nn, name)(reduce="none")


def test_positions_of_gpudls_old_order_are_refused():
    labels = gpudl.tensor([0, 1])
    logits = gpudl.zeros(2, 3)
    with pytest.raises(TypeError, match=r'mse_loss: .* pass reduction="none"'):
        F.mse_loss(X, Y, "none")
    with pytest.raises(TypeError, match=r'KLDivLoss: .* pass reduction="batchmean"'):
        nn.KLDivLoss("batchmean")
    with pytest.raises(TypeError, match=r"cross_entropy: size_average is 255; .* by name"):
        F.cross_entropy(logits, labels, None, 255)
    with pytest.raises(TypeError, match=r"poisson_nll_loss: size_average is 1e-08; .* by name"):
        F.poisson_nll_loss(X, Y, True, False, 1e-8, "sum")


def count_inputs(function):
    return sum(p.default is p.empty for p in signature(function).parameters.values())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weights_of_elements(name, reduction):
    torch = pytest.importorskip("torch")
    weight = [0.5, 2.0, 0.0]
    ours = gpudl.tensor(X.numpy(), requires_grad=True)
    got = getattr(F, name)(ours, Y, reduction=reduction, weight=gpudl.tensor(weight))
    got.sum().backward()
    leaf = torch.tensor(X.numpy(), requires_grad=True)
    theirs = getattr(torch.nn.functional, name)(
        leaf, torch.tensor(Y.numpy()), reduction=reduction, weight=torch.tensor(weight)
    )
    theirs.sum().backward()
    np.testing.assert_allclose(got.detach().numpy(), theirs.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(ours.grad.numpy(), leaf.grad.numpy(), rtol=1e-6)
    with pytest.raises(ValueError, match=rf"{name}: weight has shape \(2,\); .* input's, \(3,\)"):
        getattr(F, name)(X, Y, weight=gpudl.ones(2))
