"""Restricted Boltzmann machines against exact sums over all states."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import gpudl
import gpudl.nn.functional as F
from gpudl import nn

VISIBLE, HIDDEN = 4, 3


@pytest.fixture
def rbm():
    rng = np.random.default_rng(5)
    rbm = nn.RBM(VISIBLE, HIDDEN)
    for parameter in rbm.parameters():
        parameter.array[...] = rng.standard_normal(parameter.shape)
    return rbm


def states(units):
    """All 2^units rows of zeros and ones."""
    return np.array(list(itertools.product((0, 1), repeat=units)), np.float32)


def joint(rbm):
    """p(v, h) of all states, (2^visible, 2^hidden)."""
    w, b, c = (p.detach().numpy().astype(np.float64) for p in rbm.parameters())
    v, h = states(VISIBLE), states(HIDDEN)
    energy = -(v @ w.T @ h.T) - (v @ b)[:, None] - (h @ c)[None]
    p = np.exp(-energy)
    return p / p.sum()


def test_free_energy_gives_the_marginal(rbm):
    minus = -rbm.free_energy(gpudl.tensor(states(VISIBLE))).detach().numpy().astype(np.float64)
    p = np.exp(minus - minus.max())
    np.testing.assert_allclose(p / p.sum(), joint(rbm).sum(1), rtol=1e-5)


def test_long_chains_visit_states_as_often_as_their_probability(rbm):
    n = 20_000
    v = rbm.gibbs(gpudl.zeros(n, VISIBLE), steps=25, generator=gpudl.Generator(1))
    number = (v.numpy() @ [8, 4, 2, 1]).astype(int)
    frequency = np.bincount(number, minlength=16) / n
    p = joint(rbm).sum(1)
    assert np.abs(frequency - p).max() < 4 * np.sqrt(0.25 / n)


def test_many_steps_estimate_the_gradient_of_the_likelihood(rbm):
    data = states(VISIBLE)[[3, 5, 14]]
    v = gpudl.tensor(np.repeat(data, 8000, axis=0))
    rbm.contrastive_divergence(v, k=25, generator=gpudl.Generator(2))
    minus_log_p = rbm.free_energy(gpudl.tensor(data)).mean() + log_partition(rbm)
    estimates = [p.grad.numpy() for p in rbm.parameters()]
    exact = gpudl.autograd.grad(minus_log_p, list(rbm.parameters()))
    for got, want in zip(estimates, exact, strict=True):
        np.testing.assert_allclose(got, want.numpy(), atol=0.02)


def log_partition(rbm):
    return (-rbm.free_energy(gpudl.tensor(states(VISIBLE)))).logsumexp(0)


def test_training_raises_the_likelihood(rbm):
    data = gpudl.tensor(np.repeat(states(VISIBLE)[[0, 15]], 50, axis=0))
    optimizer = gpudl.optim.SGD(rbm.parameters(), lr=0.2)
    generator = gpudl.Generator(3)

    def minus_log_p():
        return (rbm.free_energy(data).mean() + log_partition(rbm)).item()

    before, chains = minus_log_p(), None
    for _ in range(300):
        optimizer.zero_grad()
        chains = rbm.contrastive_divergence(data, chains=chains, generator=generator)
        optimizer.step()
    assert minus_log_p() < min(before, 1.2)  # two equally likely states have log 2 = 0.69


def test_gradients_accumulate_as_in_backward(rbm):
    v = gpudl.tensor(states(VISIBLE))
    rbm.contrastive_divergence(v, generator=gpudl.Generator(4))
    once = rbm.weight.grad.numpy().copy()
    rbm.contrastive_divergence(v, generator=gpudl.Generator(4))
    np.testing.assert_allclose(rbm.weight.grad.numpy(), 2 * once, rtol=1e-6)


def test_gaussian_units_are_normal_around_their_mean():
    rbm = nn.RBM(2, 1, visible="gaussian")
    rbm.weight.array[...] = [[3, -2]]
    rbm.visible_bias.array[...] = [1, 0]
    mean, sample = rbm.sample_visible(gpudl.ones(10_000, 1), gpudl.Generator(5))
    np.testing.assert_array_equal(mean.numpy(), np.tile(np.float32([4, -2]), (10_000, 1)))
    np.testing.assert_allclose(sample.numpy().mean(0), [4, -2], atol=0.05)
    np.testing.assert_allclose(sample.numpy().std(0), 1, atol=0.03)
    # F(v) = |v - b|²/2 - log(1 + exp(w·v + c)) at v = b: w·b = 3
    energy = rbm.free_energy(gpudl.tensor([[1.0, 0.0]])).item()
    assert energy == pytest.approx(-np.log1p(np.exp(3)), rel=1e-6)


def test_samples_are_the_same_bits_on_the_emulator():
    rng = np.random.default_rng(6)
    x = rng.random((37, 21), np.float32)
    weight = rng.standard_normal((15, 21)).astype(np.float32)
    samples = []
    for device in ("cpu", "emulator"):
        tensors = [gpudl.tensor(a, device=device) for a in (x, weight)]
        _, sample = F.gibbs_half_step(*tensors, generator=gpudl.Generator(7))
        samples.append(sample.to("cpu").numpy())
    np.testing.assert_array_equal(*samples)


def test_invalid_arguments_are_refused(rbm):
    with pytest.raises(ValueError, match="visible is 'real'; it must be one of"):
        nn.RBM(3, 2, visible="real")
    with pytest.raises(ValueError, match="hidden_features is 0"):
        nn.RBM(3, 0)
    with pytest.raises(ValueError, match="k is 0"):
        rbm.contrastive_divergence(gpudl.zeros(1, VISIBLE), k=0)
