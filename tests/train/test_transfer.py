"""Features, frozen layers and learning rates by layer."""

import numpy as np
import pytest

import gpudl
from gpudl import nn, optim
from gpudl.train.transfer import features, freeze, layer_groups


def net():
    gpudl.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 3), nn.BatchNorm1d(3, activation="relu"), nn.Dropout(0.5), nn.Linear(3, 2)
    )


INPUTS = np.random.default_rng(0).standard_normal((7, 4)).astype(np.float32)


def test_features_are_computed_in_evaluation_mode_and_batches():
    model = net().train()
    statistics = model[1].running_mean.numpy().copy()
    outputs = features(model, INPUTS, model[:3], batch_size=3)
    assert model.training
    np.testing.assert_array_equal(model[1].running_mean.numpy(), statistics)
    model.eval()
    np.testing.assert_allclose(outputs, model[:3](gpudl.tensor(INPUTS)).detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(
        features(model, INPUTS), model(gpudl.tensor(INPUTS)).detach().numpy(), rtol=1e-6
    )
    assert not model.training


def step(model, optimizer):
    before = [p.detach().numpy().copy() for p in model.parameters()]
    model(gpudl.tensor(INPUTS)).sum().backward()
    gradients = [None if p.grad is None else p.grad.numpy().copy() for p in model.parameters()]
    optimizer.step()
    moved = [a - p.detach().numpy() for a, p in zip(before, model.parameters(), strict=True)]
    return gradients, moved


def test_lower_layers_take_smaller_steps():
    model = net()
    groups = layer_groups([model[0], model[1], model[2], model[3]], lr=0.4, factor=0.5)
    assert [group["lr"] for group in groups] == pytest.approx([0.05, 0.1, 0.4])
    gradients, moved = step(model, optim.SGD(groups, lr=1.0))
    rates = [0.05, 0.05, 0.1, 0.1, 0.4, 0.4]
    for rate, gradient, change in zip(rates, gradients, moved, strict=True):
        np.testing.assert_allclose(change, rate * gradient, rtol=1e-3, atol=1e-6)


def test_frozen_layers_do_not_change():
    model = net()
    freeze(model[0], model[1])
    groups = layer_groups(list(model), lr=0.1, factor=0.5)
    assert [group["lr"] for group in groups] == [0.1]
    _, moved = step(model, optim.SGD(groups, lr=1.0))
    assert [bool(np.abs(change).max()) for change in moved] == [
        False,
        False,
        False,
        False,
        True,
        True,
    ]


def test_refuses_layers_without_trainable_parameters():
    model = net()
    freeze(model)
    with pytest.raises(ValueError, match="unfreeze one"):
        layer_groups(list(model), lr=0.1, factor=0.5)
