"""Autoencoders by name and option, and the stacked one, which trains layer by layer."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import gpudl
from gpudl import models
from gpudl.models.nets import autoencoder as dense
from gpudl.models.nets import autoencoder_stacked as stacked


@pytest.mark.parametrize(
    "name", [name for name in models.names() if models.info(name).task == "reconstruction"]
)
def test_named_models_take_a_step(name):
    net = models.create(name)
    optimizer = gpudl.optim.Adam(net.parameters(), lr=1e-3)
    x = gpudl.rand(4, 1, 28, 28)
    net.loss(x).backward()
    optimizer.step()
    assert np.isfinite(net.eval().loss(x).item())
    assert net(x).shape == x.shape


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("plain_autoencoder", {"tied": True}),
        ("deep_autoencoder", {"widths": [8, 4], "tied": True, "activation": "tanh"}),
        ("denoising_autoencoder", {"noise": "salt and pepper", "amount": 0.5}),
        ("sparse_autoencoder", {"sparsity": "l1", "weight": 0.5}),
        ("contractive_autoencoder", {"weight": 1.0}),
        ("winner_take_all_autoencoder", {"rate": 0.5}),
    ],
)
def test_each_form_has_a_name_or_an_option(name, options):
    net = models.create(name, **options)
    x = gpudl.rand(4, 1, 28, 28)
    assert np.isfinite(net.loss(x).item())
    for option in options.keys() & {"noise", "amount", "sparsity", "weight", "rate"}:
        assert getattr(net, option) == options[option]
    if options.get("tied"):
        assert isinstance(net.decoder[0], dense.TiedLinear)


def test_a_stack_learns_layer_by_layer_then_all_together():
    gpudl.manual_seed(0)
    net = stacked.StackedAutoencoder((12, 6, 4), steps_a_layer=2)
    stepper = net.make_stepper(functools.partial(gpudl.optim.SGD, lr=0.01))
    x, labels = gpudl.rand(8, 1, 3, 4), gpudl.zeros(8)
    changes, numbers = [], []
    for _ in range(6):
        before = {name: p.detach().numpy().copy() for name, p in net.named_parameters()}
        numbers.append(stepper.step(x, labels)["layer"].item())
        after = dict(net.named_parameters())
        changes.append({n for n, p in before.items() if (after[n].detach().numpy() != p).any()})
    outer, inner = ({f"encoder.{i}", f"decoder.{2 - i}"} for i in (0, 2))
    layers = [{name.rpartition(".")[0] for name in names} for names in changes]
    assert layers == [outer, outer, inner, inner, outer | inner, outer | inner]
    assert numbers == [1, 1, 2, 2, 3, 3]
    assert net.steps.item() == 6
    assert set(net.judge(x, labels)) == {"loss", "squared"}


def test_a_stack_resumes_at_the_step_in_its_state():
    net = stacked.StackedAutoencoder((12, 6, 4), steps_a_layer=2)
    net.steps += 3
    other = stacked.StackedAutoencoder((12, 6, 4), steps_a_layer=2)
    other.load_state_dict(net.state_dict())
    stepper = other.make_stepper(functools.partial(gpudl.optim.SGD, lr=0.01))
    layers = [stepper.step(gpudl.rand(8, 12), gpudl.zeros(8))["layer"].item() for _ in range(2)]
    assert layers == [2, 3]
