"""Deep Boltzmann machines against sums over all states."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import gpudl
from gpudl.models.nets import partition
from gpudl.models.nets.dbm import DBM, pretrain

VISIBLE, FIRST, SECOND = 5, 4, 3


def states(units):
    return np.array(list(itertools.product((0, 1), repeat=units)), np.float32)


@pytest.fixture
def dbm():
    dbm = DBM(VISIBLE, (FIRST, SECOND), chains=50)
    rng = np.random.default_rng(7)
    for p in dbm.parameters():
        p.array[...] = 0.7 * rng.standard_normal(p.shape)
    return dbm


def joint(dbm):
    """p(v, h1, h2) of all states and log Z."""
    w1, w2, b, c1, c2 = (p.detach().numpy().astype(np.float64) for p in dbm.parameters())
    v, h1, h2 = states(VISIBLE), states(FIRST), states(SECOND)
    lower = h1 @ w1 @ v.T + (h1 @ c1)[:, None] + (v @ b)[None]  # (h1, v)
    upper = h1 @ w2.T @ h2.T + (h2 @ c2)[None]  # (h1, h2)
    minus = lower.T[:, :, None] + upper[None]
    log_z = np.logaddexp.reduce(minus.ravel())
    return np.exp(minus - log_z), log_z


def test_parameters():
    with gpudl.device("meta"):
        net = gpudl.models.create("dbm")
    count = sum(p.numel() for p in net.parameters())
    assert net.image_shape == (1, 28, 28)
    assert count == 784 * 500 + 500 * 1000 + 784 + 500 + 1000


def test_as_a_restricted_machine(dbm):
    p, log_z = joint(dbm)
    rbm = dbm.as_rbm()
    h1 = states(FIRST)
    minus = -rbm.free_energy(gpudl.tensor(h1)).detach().numpy()
    np.testing.assert_allclose(minus, np.log(p.sum((0, 2))) + log_z, rtol=1e-5)
    assert partition.log_partition(rbm).item() == pytest.approx(log_z, rel=1e-6)
    got = partition.annealed_log_partition(rbm, 150, 200, generator=gpudl.Generator(1))
    assert got.low < log_z < got.high


def test_mean_field_raises_the_bound_and_stays_below(dbm):
    p, log_z = joint(dbm)
    v = gpudl.tensor(states(VISIBLE))
    exact = np.log(p.sum((1, 2))) + log_z
    start = gpudl.tensor(np.random.default_rng(2).random((len(v), SECOND), np.float32))
    bounds = []
    for steps in range(1, 25):
        bounds.append(dbm.bound(v, *dbm.mean_field(v, steps, start)).detach().numpy())
    bounds = np.array(bounds)
    assert (np.diff(bounds, axis=0) > -1e-5).all()
    assert (bounds[-1] - bounds[0]).max() > 0.01
    assert (bounds < exact + 1e-5).all()
    np.testing.assert_allclose(bounds[-1], bounds[-2], atol=1e-4)  # a fixed point


def test_bound_is_the_expectation_under_the_factorial_distribution(dbm):
    p, log_z = joint(dbm)
    rng = np.random.default_rng(3)
    mu1, mu2 = rng.random((1, FIRST), np.float32), rng.random((1, SECOND), np.float32)
    q1 = np.prod(np.where(states(FIRST) == 1, mu1, 1 - mu1), 1)
    q2 = np.prod(np.where(states(SECOND) == 1, mu2, 1 - mu2), 1)
    q = q1[:, None] * q2[None]
    want = (q * (np.log(p[11]) + log_z - np.log(q))).sum()
    got = dbm.bound(*(gpudl.tensor(a) for a in (states(VISIBLE)[11:12], mu1, mu2)))
    assert got.item() == pytest.approx(want, rel=1e-5)


def test_the_bound_is_finite_for_certain_units(dbm):
    one = gpudl.ones(1, FIRST), gpudl.ones(1, SECOND)
    assert np.isfinite(dbm.bound(gpudl.ones(1, VISIBLE), *one).item())


def test_long_chains_visit_states_as_often_as_their_probability(dbm):
    p, _ = joint(dbm)
    n = 20_000
    zeros = gpudl.zeros(n, VISIBLE), gpudl.zeros(n, SECOND)
    _, v, h2 = dbm.gibbs(*zeros, 30, gpudl.Generator(4))
    got = np.bincount((v.numpy() @ [16, 8, 4, 2, 1]).astype(int), minlength=32) / n
    assert np.abs(got - p.sum((1, 2))).max() < 4 * np.sqrt(0.25 / n)
    got = np.bincount((h2.numpy() @ [4, 2, 1]).astype(int), minlength=8) / n
    assert np.abs(got - p.sum((0, 1))).max() < 4 * np.sqrt(0.25 / n)


def test_gradients_are_those_of_the_bound(dbm):
    """With long chains: d(log Z - bound), log Z by exact sums, the bound by autograd."""
    p, _ = joint(dbm)
    v = gpudl.tensor(states(VISIBLE)[[3, 17, 30]])
    n = 40_000
    dbm.chain_v, dbm.chain_h2 = gpudl.zeros(n, VISIBLE), gpudl.zeros(n, SECOND)
    mu1, mu2 = dbm.fill_gradients(v, field=50, k=30, generator=gpudl.Generator(5))
    got = {name: q.grad.numpy() for name, q in dbm.named_parameters()}
    bound = dbm.bound(v, mu1, mu2).mean()
    bound_gradients = gpudl.autograd.grad(bound, list(dbm.parameters()))
    sv, s1, s2 = states(VISIBLE), states(FIRST), states(SECOND)
    model = {
        "weight1": np.einsum("vij,va,ib->ba", p, sv, s1),
        "weight2": np.einsum("vij,ib,jc->cb", p, s1, s2),
        "visible_bias": p.sum((1, 2)) @ sv,
        "hidden1_bias": p.sum((0, 2)) @ s1,
        "hidden2_bias": p.sum((0, 1)) @ s2,
    }
    for (name, want), gradient in zip(model.items(), bound_gradients, strict=True):
        np.testing.assert_allclose(got[name], want - gradient.numpy(), atol=0.015, err_msg=name)


def two_patterns():
    patterns = np.array([[1, 1, 1, 0, 0], [0, 0, 0, 1, 1]], np.float32)
    return gpudl.tensor(np.repeat(patterns, 40, axis=0))


def sgd(groups, **changes):
    return gpudl.optim.SGD(groups, **{"lr": 0.1, "momentum": 0.5, **changes})


def exact_mean(dbm, data):
    p, _ = joint(dbm)
    number = (data.numpy() @ [16, 8, 4, 2, 1]).astype(int)
    return np.log(p.sum((1, 2)))[number].mean()


def test_training_raises_the_likelihood():
    gpudl.manual_seed(0)
    dbm = DBM(VISIBLE, (FIRST, SECOND), chains=40)
    data = two_patterns()
    before = exact_mean(dbm, data)
    pretrain(dbm, data, sgd, (40, 40), batch_size=20)
    middle = exact_mean(dbm, data)
    stepper = dbm.make_stepper(sgd)
    losses = [stepper.step(data)["loss"].item() for _ in range(200)]
    after = exact_mean(dbm, data)
    assert before < middle < after
    assert after > -1.5  # two equally likely patterns: -0.69; all states: -3.47
    assert losses[-1] < 0.1
    assert dbm.judge(data)["loss"].item() < 0.1
    assert dbm.sample(60, 3).shape == (60, VISIBLE)
    reconstruction = dbm(data.reshape(80, 1, 1, 5))
    assert reconstruction.shape == (80, 1, 1, 5)


def test_it_is_reproducible_and_the_same_on_the_emulator():
    results = []
    for device in ("cpu", "cpu", "emulator"):
        gpudl.manual_seed(4)
        dbm = DBM(VISIBLE, (FIRST, SECOND), chains=7, device=device)
        data = two_patterns().to(device)
        pretrain(dbm, data, sgd, (1, 1))
        stepper = dbm.make_stepper(sgd)
        for _ in range(3):
            stepper.step(data)
        bound = dbm.bound(data, *dbm.mean_field(data)).detach()
        results.append([dbm(data).detach().cpu(), bound.cpu(), dbm.sample(9, 2).cpu()])
    for first, again, emulator in zip(*results, strict=True):
        np.testing.assert_array_equal(first.numpy(), again.numpy())
        np.testing.assert_allclose(first.numpy(), emulator.numpy(), rtol=1e-4, atol=1e-5)


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match=r"hidden is \(3,\).* two hidden widths"):
        DBM(4, (3,))
    with pytest.raises(ValueError, match="chains 0"):
        DBM(4, (3, 2), chains=0)
