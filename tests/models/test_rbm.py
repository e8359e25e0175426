"""Boltzmann machines: training, label units and partition functions against exact sums."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import gpudl
import gpudl.nn.functional as F
from gpudl import nn
from gpudl.models.nets import partition
from gpudl.models.nets.rbm import ClassificationRBM, fit, in_batches, parameter_groups

VISIBLE, HIDDEN, CLASSES = 5, 4, 3


def states(units):
    return np.array(list(itertools.product((0, 1), repeat=units)), np.float32)


def randomised(rbm, scale=1.0):
    rng = np.random.default_rng(5)
    for parameter in rbm.parameters():
        parameter.array[...] = scale * rng.standard_normal(parameter.shape)
    return rbm


def energies(rbm, v, h):
    """-E(v, h) of binary visible units, float64, (len(v), len(h))."""
    w, b, c = (p.detach().numpy().astype(np.float64) for p in rbm.parameters())
    return v @ w.T @ h.T + (v @ b)[:, None] + (h @ c)[None]


def visible_states(rbm):
    """All states of the visible units."""
    if isinstance(rbm, ClassificationRBM):
        units = np.eye(CLASSES, dtype=np.float32)
        return np.array([[*x, *y] for x in states(VISIBLE) for y in units])
    return states(VISIBLE)


def log_sum(x, axis=None):
    return np.logaddexp.reduce(x if axis is not None else x.ravel(), axis=axis or 0)


def log_p(rbm):
    """log p(v) of all visible states, by exact sums."""
    minus = energies(rbm, visible_states(rbm), states(HIDDEN))
    return log_sum(minus, 1) - log_sum(minus)


MACHINES = {
    "binary": lambda: nn.RBM(VISIBLE, HIDDEN),
    "labels": lambda: ClassificationRBM(VISIBLE, CLASSES, HIDDEN),
}


@pytest.fixture(params=MACHINES)
def rbm(request):
    return randomised(MACHINES[request.param]())


def sgd(rbm, lr=0.05):
    return gpudl.optim.SGD(parameter_groups(rbm), lr=lr, momentum=0.5)


# ---------------------------------------------------------------- likelihood


def test_log_partition_is_the_sum_over_all_states(rbm):
    want = log_sum(energies(rbm, visible_states(rbm), states(HIDDEN)))
    assert partition.log_partition(rbm).item() == pytest.approx(want, rel=1e-6)


def test_log_partition_in_several_chunks(monkeypatch, rbm):
    whole = partition.log_partition(rbm).item()
    monkeypatch.setattr(partition, "AT_ONCE", 2)
    assert partition.log_partition(rbm).item() == pytest.approx(whole, rel=1e-6)


def test_gradient_of_the_exact_likelihood(rbm):
    """d log Z / d bias = p(unit = 1), d log Z / d weight = p(both = 1)."""
    v, h = visible_states(rbm), states(HIDDEN)
    p = np.exp(energies(rbm, v, h) - log_sum(energies(rbm, v, h)))
    partition.log_partition(rbm).backward()
    wanted = h.T @ p.T @ v, p.sum(1) @ v, p.sum(0) @ h
    for parameter, want in zip(rbm.parameters(), wanted, strict=True):
        np.testing.assert_allclose(parameter.grad.numpy(), want, atol=1e-5)


def test_log_likelihood(rbm):
    log_z = partition.log_partition(rbm).item()
    got = partition.log_likelihood(rbm, gpudl.tensor(visible_states(rbm)), log_z)
    np.testing.assert_allclose(got.numpy(), log_p(rbm), rtol=1e-4, atol=1e-5)


def test_density_of_gaussian_units_integrates_to_one():
    rbm = randomised(nn.RBM(2, 3, visible="gaussian"))
    line = np.linspace(-14, 14, 281, dtype=np.float32)
    grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    log_z = partition.log_partition(rbm).item()
    density = np.exp(partition.log_likelihood(rbm, gpudl.tensor(grid), log_z).numpy())
    assert density.sum() * (line[1] - line[0]) ** 2 == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kind", [*MACHINES, "gaussian"])
def test_annealing_finds_log_z_within_its_error(kind):
    make = MACHINES.get(kind, lambda: nn.RBM(VISIBLE, HIDDEN, visible="gaussian"))
    rbm = randomised(make(), 0.7 if kind == "gaussian" else 2.0)
    exact = partition.log_partition(rbm).item()
    got = partition.annealed_log_partition(rbm, 150, 200, generator=gpudl.Generator(1))
    assert got.low < exact < got.high
    assert got.high - got.low < 0.5
    assert got.log_weights.shape == (200,)
    again = partition.annealed_log_partition(rbm, 150, 200, generator=gpudl.Generator(1))
    hidden_base = gpudl.tensor([2.0, -3, 1, 0])
    other = partition.annealed_log_partition(
        rbm, 150, 200, generator=gpudl.Generator(2), hidden_base=hidden_base
    )
    assert abs(other.log_z - exact) < 0.3
    np.testing.assert_array_equal(got.log_weights, again.log_weights)


def test_annealing_from_the_machine_itself_is_exact():
    rbm = randomised(nn.RBM(VISIBLE, HIDDEN))
    rbm.weight.array[...] = 0
    base, hidden = rbm.visible_bias.detach(), rbm.hidden_bias.detach()
    got = partition.annealed_log_partition(rbm, 5, 3, base, hidden_base=hidden)
    exact = partition.log_partition(rbm).item()
    np.testing.assert_allclose(got.log_weights, exact, rtol=1e-5)


def test_base_rates_have_the_means_of_the_data():
    data = gpudl.tensor(states(VISIBLE)[-20:])
    base = partition.base_rates(nn.RBM(VISIBLE, HIDDEN), data)
    want = (data.numpy().sum(0) + 1) / 22
    np.testing.assert_allclose(F.sigmoid(base).numpy(), want, rtol=1e-5)
    gaussian = partition.base_rates(nn.RBM(VISIBLE, HIDDEN, visible="gaussian"), data)
    np.testing.assert_allclose(gaussian.numpy(), data.numpy().mean(0), rtol=1e-6)


def test_pseudo_likelihood():
    rbm = randomised(nn.RBM(VISIBLE, HIDDEN))
    v, p = states(VISIBLE), np.exp(log_p(rbm))
    terms = np.empty((len(v), VISIBLE))
    for i in range(VISIBLE):
        pair = np.arange(len(v)) ^ (1 << (VISIBLE - 1 - i))  # the state with unit i flipped
        terms[:, i] = np.log(p / (p + p[pair]))
    got = rbm.log_pseudo_likelihood(gpudl.tensor(v))
    np.testing.assert_allclose(got.numpy(), terms.sum(1), rtol=1e-4)
    some = rbm.log_pseudo_likelihood(gpudl.tensor(v), gpudl.tensor([1, 3]))
    np.testing.assert_allclose(some.numpy(), terms[:, [1, 3]].sum(1) * 2.5, rtol=1e-4)


# ---------------------------------------------------------------- sampling, labels, training


def test_completion_samples_the_conditional():
    rbm = randomised(nn.RBM(VISIBLE, HIDDEN))
    known = np.array([True, True, False, False, False])
    given = np.tile(np.float32([1, 0, 0, 0, 0]), (8000, 1))
    generator = gpudl.Generator(2)
    sample = rbm.gibbs(gpudl.tensor(given), 20, generator, gpudl.tensor(known)).numpy()
    filled = rbm.complete(gpudl.tensor(given), gpudl.tensor(known), 20, generator).numpy()
    v, p = states(VISIBLE), np.exp(log_p(rbm))
    matches = (v[:, :2] == [1, 0]).all(1)
    want = (p[matches] / p[matches].sum()) @ v[matches]
    for got in (sample, filled):
        np.testing.assert_array_equal(got[:, :2], given[:, :2])
        np.testing.assert_allclose(got.mean(0), want, atol=0.025)


def test_class_probabilities_are_those_of_the_joint():
    rbm = randomised(MACHINES["labels"]())
    joint = np.exp(log_p(rbm)).reshape(-1, CLASSES)  # p(x, y)
    x = gpudl.tensor(states(VISIBLE))
    got = F.softmax(rbm(x), 1).detach().numpy()
    np.testing.assert_allclose(got, joint / joint.sum(1, keepdims=True), rtol=1e-4)
    y = gpudl.tensor(np.arange(len(x)) % CLASSES)
    minus = -rbm.free_energy(rbm.join(x, y)).detach().numpy()
    other = -rbm.free_energy(rbm.join(x, (y + 1) % CLASSES)).detach().numpy()
    rows = np.arange(len(x))
    want = np.log(joint[rows, y.numpy()] / joint[rows, (y.numpy() + 1) % CLASSES])
    np.testing.assert_allclose(minus - other, want, atol=1e-4)


def test_exactly_one_label_unit_is_sampled():
    rbm = randomised(MACHINES["labels"]())
    h = gpudl.tensor(np.tile(states(HIDDEN)[11], (20_000, 1)))
    mean, sample = (t.numpy() for t in rbm.sample_visible(h, gpudl.Generator(3)))
    np.testing.assert_array_equal(sample[:, VISIBLE:].sum(1), 1)
    np.testing.assert_allclose(sample.mean(0), mean[0], atol=0.015)
    minus = energies(rbm, visible_states(rbm), states(HIDDEN)[11:12])[:, 0]
    want = np.exp(minus - log_sum(minus)) @ visible_states(rbm)
    np.testing.assert_allclose(mean[0], want, rtol=1e-5)


@pytest.mark.parametrize("options", [{"k": 2}, {"chains": 20}], ids=["CD-2", "PCD"])
def test_fit_raises_the_likelihood(options):
    gpudl.manual_seed(0)
    rbm = nn.RBM(VISIBLE, HIDDEN)
    two = states(VISIBLE)[[6, 25]]
    data = gpudl.tensor(np.repeat(two, 50, axis=0))
    epochs = []
    last = fit(rbm, data, sgd(rbm, 0.2), 40, batch_size=20, each_epoch=epochs.append, **options)
    log_z = partition.log_partition(rbm).item()
    mean = partition.log_likelihood(rbm, gpudl.tensor(two), log_z).mean().item()
    assert mean > -1.6, mean  # two equally likely states: -0.69; all states: -3.47
    assert epochs == list(range(1, 41))
    assert last is None or last.shape == (20, VISIBLE)
    assert rbm.weight.grad is None


def test_fit_is_reproducible():
    data = gpudl.tensor(states(VISIBLE))
    weights = []
    for _ in range(2):
        gpudl.manual_seed(4)
        rbm = MACHINES["binary"]()
        fit(rbm, data, sgd(rbm), 2, batch_size=8, chains=4)
        weights.append(rbm.weight.detach().numpy())
    np.testing.assert_array_equal(*weights)


def test_the_emulator_takes_the_same_steps():
    results = []
    for device in ("cpu", "emulator"):
        gpudl.manual_seed(4)
        rbm = ClassificationRBM(VISIBLE, CLASSES, HIDDEN, device=device)
        data = gpudl.tensor(visible_states(rbm)[::5], device=device)
        fit(rbm, data, sgd(rbm), 2, batch_size=10)
        estimate = partition.annealed_log_partition(rbm, 5, 8)
        filled = rbm.complete(data, data > 0, 2)
        F.cross_entropy(rbm(data[:, :VISIBLE]), data[:, VISIBLE:].argmax(1)).backward()
        plain = nn.RBM(VISIBLE, HIDDEN, device=device)
        pseudo = plain.log_pseudo_likelihood(data[:, :VISIBLE])
        log_z = partition.log_partition(rbm).detach()
        tensors = rbm.weight.detach(), rbm.weight.grad, filled, pseudo, log_z
        results.append([estimate.log_weights, *(tensor.cpu().numpy() for tensor in tensors)])
    for cpu, emulator in zip(*results, strict=True):
        np.testing.assert_allclose(cpu, emulator, rtol=1e-4, atol=1e-5)


def test_a_step_of_discriminative_training_lowers_the_loss():
    rbm = gpudl.models.create("classification_rbm", image_size=8, hidden=20)
    assert sum(p.numel() for p in rbm.parameters()) == 20 * 74 + 74 + 20
    x = gpudl.tensor(np.random.default_rng(0).random((30, 1, 8, 8), np.float32))
    y = gpudl.tensor(np.arange(30) % 10)
    optimizer = gpudl.optim.SGD(rbm.parameters(), lr=0.5)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = F.cross_entropy(rbm(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]


@pytest.mark.parametrize(("name", "settings"), [
    ("rbm", {}), ("rbm", {"persistent": False, "k": 3}), ("gaussian_rbm", {})
])  # fmt: skip
def test_a_generative_machine_learns_from_images(name, settings):
    gpudl.manual_seed(0)
    net = gpudl.models.create(name, image_size=6, hidden=12, **settings)
    assert sum(p.numel() for p in net.parameters()) == 36 * 12 + 36 + 12
    rng = np.random.default_rng(0)
    noise = 0.7 * rng.random((40, 1, 6, 6))
    images = gpudl.tensor((noise + 0.3 * (np.arange(6) % 2)).astype(np.float32))  # stripes
    steps = net.make_stepper(lambda parameters: gpudl.optim.SGD(parameters, lr=0.05))
    before = net.chain.numpy().copy()
    for _ in range(40):
        losses = steps.step(images)
    assert losses["loss"].item() < net.units(images).var(0).mean().item() * 1.01
    judged = net.judge(images)
    assert ("pseudo_likelihood" in judged) == (name == "rbm")
    assert (net.chain.numpy() != before).any()
    drawn = net.sample(120, 5).numpy()
    assert drawn.shape == (120, 1, 6, 6)
    assert 0 <= drawn.min() <= drawn.max() <= 1
    assert drawn[..., 1::2].mean() > drawn[..., ::2].mean() + 0.2


def test_a_generative_machine_starts_from_the_first_batch():
    net = gpudl.models.create("rbm", image_size=2, hidden=3)
    images = gpudl.tensor(np.array([[0.9, 0, 0, 0.6], [0.8, 0.1, 0.7, 0.2]], np.float32))
    net.begin(images.reshape(2, 1, 2, 2))
    bits = np.array([[1, 0, 0, 1], [1, 0, 1, 0]])
    np.testing.assert_array_equal(net.chain.numpy(), np.tile(bits, (50, 1)))
    np.testing.assert_allclose(net.visible_bias.detach().numpy(), np.log([3, 1 / 3, 1, 1]), 1e-5)
    with pytest.raises(ValueError, match="k is 0"):
        gpudl.models.create("rbm", k=0)


def test_in_batches_equals_one_call():
    rbm, v = MACHINES["binary"](), gpudl.tensor(states(VISIBLE))
    want = rbm(v).detach().numpy()
    np.testing.assert_allclose(in_batches(rbm, v, 5).numpy(), want, rtol=1e-6)


def test_invalid_arguments_are_refused():
    rbm = MACHINES["binary"]()
    with pytest.raises(ValueError, match="num_classes is 0"):
        ClassificationRBM(3, 0, 2)
    with pytest.raises(ValueError, match=r"data has shape \[2, 4\]; it must be \(N, 5\)"):
        fit(rbm, gpudl.zeros(2, 4), sgd(rbm))
    with pytest.raises(ValueError, match=r"21 hidden units .* annealed_log_partition"):
        partition.log_partition(nn.RBM(3, 21))
    with pytest.raises(ValueError, match="betas must increase from 0 to 1"):
        partition.annealed_log_partition(rbm, [0, 0.7, 0.5, 1])
    with pytest.raises(ValueError, match="chains is 1"):
        partition.annealed_log_partition(rbm, 5, 1)
    with pytest.raises(ValueError, match="count is 1"):
        partition.schedule(1)
    with pytest.raises(TypeError, match="must be binary"):
        nn.RBM(3, 2, visible="gaussian").log_pseudo_likelihood(gpudl.zeros(1, 3))
    with pytest.raises(TypeError, match="needs independent visible units"):
        MACHINES["labels"]().log_pseudo_likelihood(gpudl.zeros(1, 8))
