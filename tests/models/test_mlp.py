"""Multi-layer perceptrons: depths, activations, the smallest nets."""

import numpy as np
import pytest

import gpudl
from gpudl import models
from gpudl.models.nets.mlp import ACTIVATIONS


@pytest.mark.parametrize(
    ("hidden", "parameters"), [((), 7850), ((30,), 23860), ((300, 100), 266610), ((20,) * 6, 18010)]
)
def test_any_depth(hidden, parameters):
    net = models.mlp(hidden=hidden)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert net(gpudl.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_takes_a_step(activation):
    gpudl.manual_seed(0)
    net = models.mlp(image_size=4, hidden=(12, 12), activation=activation)
    rng = np.random.default_rng(0)
    images = gpudl.tensor(rng.standard_normal((16, 1, 4, 4)).astype(np.float32))
    loss = gpudl.nn.functional.cross_entropy(net(images), gpudl.tensor(np.arange(16) % 10))
    loss.backward()
    assert np.isfinite(loss.item())
    assert all(np.isfinite(p.grad.numpy()).all() for p in net.parameters())
    assert np.any(net.layers[1].weight.grad.numpy())  # the first layer learns through it


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation is 'step'; it must be one of relu"):
        models.mlp(activation="step")


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "hardswish"])
def test_logits_equal_pytorchs(activation):
    torch = pytest.importorskip("torch")
    kind = {"relu": "ReLU", "tanh": "Tanh", "gelu": "GELU", "hardswish": "Hardswish"}[activation]
    act = getattr(torch.nn, kind)
    theirs = torch.nn.Sequential(
        *(torch.nn.Flatten(), torch.nn.Linear(784, 30), act()),
        *(torch.nn.Linear(30, 20), act(), torch.nn.Linear(20, 10)),
    )
    ours = models.mlp(hidden=(30, 20), activation=activation)
    ours.load_state_dict({f"layers.{n}": v.numpy() for n, v in theirs.state_dict().items()})
    images = np.random.default_rng(0).random((4, 1, 28, 28), np.float32)
    np.testing.assert_allclose(
        ours(gpudl.tensor(images)).detach().numpy(),
        theirs(torch.from_numpy(images)).detach().numpy(),
        atol=1e-5,
    )


def test_parameter_counts_of_the_smallest_nets():
    counts = [sum(p.numel() for p in net.parameters()) for net in (
        models.first_net(), models.one_versus_five())]  # fmt: skip
    assert counts == [64 * 2 + 2 + 2 * 3 + 3, 1559]
    assert models.one_versus_five()(gpudl.zeros(3, 1, 16, 16)).shape == (3, 1)
