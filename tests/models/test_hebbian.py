"""Neurons that learn without labels: each rule converges as theory says."""

import numpy as np
import pytest

import gpudl
from gpudl import models
from gpudl.models.nets.hebbian import HebbianNet, LinearNeurons


@pytest.fixture(scope="module")
def cloud() -> tuple[np.ndarray, np.ndarray]:
    """2000 points of mean 0 with standard deviations 3, 2, 1, 0.5 along rotated axes, and their
    principal components as rows, largest first."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    points = rng.standard_normal((2000, 4)) * [3, 2, 1, 0.5] @ axes.T
    points -= points.mean(0)
    components = np.linalg.svd(points, full_matrices=False)[2]
    return points.astype(np.float32), components


def learned(points: np.ndarray, units: int, rule: str, lr: float, steps: int) -> np.ndarray:
    gpudl.manual_seed(1)
    neurons = LinearNeurons(4, units)
    for step in range(steps):
        start = step * 50 % len(points)
        neurons.learn(gpudl.tensor(points[start : start + 50]), lr / (1 + step / 200), rule)
    return neurons.weight.numpy()


def test_oja_finds_the_first_component_at_length_one(cloud):
    weight = learned(cloud[0], 1, "oja", 0.02, 400)[0]
    assert np.linalg.norm(weight) == pytest.approx(1, abs=0.02)
    assert abs(weight @ cloud[1][0]) > 0.999


def test_sanger_finds_the_components_in_order(cloud):
    weight = learned(cloud[0], 3, "sanger", 0.03, 1000)
    np.testing.assert_allclose(np.abs(weight @ cloud[1][:3].T), np.eye(3), atol=0.05)


def test_hebb_grows_without_bound_along_the_first_component(cloud):
    weight = learned(cloud[0], 1, "hebb", 0.01, 300)[0]
    length = np.linalg.norm(weight)
    assert length > 100
    assert abs(weight @ cloud[1][0]) / length > 0.99


def test_an_update_follows_the_equations():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 5)).astype(np.float32)
    for rule in ("hebb", "oja", "sanger"):
        neurons = LinearNeurons(5, 3)
        w = neurons.weight.numpy().copy()
        change = np.zeros_like(w)
        for sample in x:
            y = w @ sample
            decay = {"hebb": 0 * w, "oja": (y**2)[:, None] * w,
                     "sanger": np.tril(np.outer(y, y)) @ w}[rule]  # fmt: skip
            change += np.outer(y, sample) - decay
        neurons.learn(gpudl.tensor(x), 0.1, rule)
        np.testing.assert_allclose(neurons.weight.numpy(), w + 0.1 * change / 7, atol=1e-6)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="rule is 'hopfield'; it must be one of"):
        LinearNeurons(2).learn(gpudl.zeros(1, 2), 0.1, "hopfield")


def test_a_net_learns_by_its_rule():
    """The optimizer's step equals `learn` on inputs minus their mean."""
    rng = np.random.default_rng(0)
    images = gpudl.tensor(rng.random((6, 1, 2, 3), np.float32))
    for rule in ("hebb", "oja", "sanger"):
        net = HebbianNet((1, 2, 3), 2, rule)
        peer = LinearNeurons(6, 2)
        peer.weight.copy_(net.neurons.weight)
        steps = net.make_stepper(lambda parameters: gpudl.optim.SGD(parameters, lr=0.1))
        steps.step(images)
        np.testing.assert_allclose(net.mean.numpy(), images.numpy().mean(0).ravel(), atol=1e-6)
        peer.learn(net.centred(images), 0.1, rule)
        np.testing.assert_allclose(net.neurons.weight.numpy(), peer.weight.numpy(), atol=1e-6)


def test_the_mean_is_that_of_all_images_seen():
    net = HebbianNet((1, 2, 3), 1, "oja")
    images = np.random.default_rng(0).random((7, 1, 2, 3), np.float32)
    for part in (images[:2], images[2:3], images[3:]):
        net.look(gpudl.tensor(part))
    np.testing.assert_allclose(net.mean.numpy(), images.reshape(7, 6).mean(0), atol=1e-6)


def test_the_first_component_loses_least(cloud):
    points, components = cloud
    net = HebbianNet((4,), 1, "oja")
    net.look(gpudl.tensor(points))
    spread = points.var(0).sum()
    for component in components:
        net.neurons.weight.copy_(gpudl.tensor(2 * component[None]))
        share = 1 - (points @ component).var() / spread
        assert net.lost(gpudl.tensor(points)).item() == pytest.approx(share, abs=1e-3)


def test_the_nets_have_one_weight_per_pixel():
    for name, units in (("hebb_neuron", 1), ("oja_neuron", 1), ("sanger_net", 16)):
        net = models.create(name)
        assert sum(p.numel() for p in net.parameters()) == 256 * units
        picture = net.pictures()["components"].numpy()
        assert picture.shape == (units, 1, 16, 16)
        assert 0 <= picture.min() <= picture.max() <= 1


def test_a_net_without_neurons_is_refused():
    with pytest.raises(ValueError, match="units is 0; it must be 1 or more"):
        models.create("sanger_net", units=0)
