"""Neurons without a teacher: where each rule leads is known."""

import numpy as np
import pytest

import gpudl
from gpudl.models.hebbian import LinearNeurons


@pytest.fixture(scope="module")
def cloud() -> tuple[np.ndarray, np.ndarray]:
    """2000 points of mean 0 with standard deviations 3, 2, 1, 0.5 along axes that are turned, and
    their components as rows, largest first."""
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


def test_an_update_is_what_the_equations_say():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((7, 5)).astype(np.float32)
    for rule in ("hebb", "oja", "sanger"):
        neurons = LinearNeurons(5, 3)
        w = neurons.weight.numpy().copy()
        change = np.zeros_like(w)
        for sample in x:
            y = w @ sample
            forget = {"hebb": 0 * w, "oja": (y**2)[:, None] * w,
                      "sanger": np.tril(np.outer(y, y)) @ w}[rule]  # fmt: skip
            change += np.outer(y, sample) - forget
        neurons.learn(gpudl.tensor(x), 0.1, rule)
        np.testing.assert_allclose(neurons.weight.numpy(), w + 0.1 * change / 7, atol=1e-6)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="'hopfield', expected one of"):
        LinearNeurons(2).learn(gpudl.zeros(1, 2), 0.1, "hopfield")
