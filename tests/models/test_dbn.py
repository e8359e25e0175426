"""Deep belief networks: recognition, greedy training, generation."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import gpudl
import gpudl.nn.functional as F
from gpudl.models.nets.dbn import DBN, pretrain
from gpudl.models.nets.rbm import parameter_groups

PIXELS, CLASSES = 6, 2
PATTERNS = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], np.float32)


def sgd(groups, **changes):
    return gpudl.optim.SGD(groups, **{"lr": 0.2, "momentum": 0.5, **changes})


def data(repeat=60):
    labels = np.tile([0, 1], repeat)
    return gpudl.tensor(PATTERNS[labels]), gpudl.tensor(labels)


def test_parameters_of_the_paper():
    """784-500-500-2000 with 10 class units; a visible and a hidden bias for each machine."""
    with gpudl.device("meta"):
        net = gpudl.models.create("dbn")
    weights = 784 * 500 + 500 * 500 + (500 + 10) * 2000
    biases = (784 + 500) + (500 + 500) + (510 + 2000)
    assert sum(p.numel() for p in net.parameters()) == weights + biases == 1_666_794
    x = gpudl.zeros(3, 1, 28, 28, device="meta")
    assert net(x).shape == (3, 10)


def test_recognition_is_a_sigmoid_network():
    torch = pytest.importorskip("torch")
    net = DBN(PIXELS, (5, 4, 7), CLASSES)
    rng = np.random.default_rng(1)
    for p in net.parameters():
        p.array[...] = rng.standard_normal(p.shape)
    state = {k: torch.from_numpy(v.array.copy()) for k, v in net.state_dict().items()}
    x = torch.from_numpy(rng.random((3, PIXELS), np.float32))
    h = x
    for name in ("layers.0", "layers.1"):
        h = (h @ state[f"{name}.weight"].T + state[f"{name}.hidden_bias"]).sigmoid()
    w, d = state["top.weight"], state["top.visible_bias"]
    h = (h @ w[:, :4].T + state["top.hidden_bias"]).sigmoid()
    want = h @ w[:, 4:] + d[4:]
    got = net(gpudl.tensor(x.numpy())).detach().numpy()
    np.testing.assert_allclose(got, want.numpy(), atol=1e-4)


@pytest.fixture(scope="module")
def trained():
    gpudl.manual_seed(1)
    net = DBN(PIXELS, (8, 6, 10), CLASSES)
    images, labels = data()
    pretrain(net, images, labels, sgd, (30, 30, 60), batch_size=20, chains=10)
    return net


def test_greedy_training_learns_classes_and_their_images(trained):
    images, labels = data(20)
    assert trained.judge(images, labels)["accuracy"].item() == 1
    drawn = trained.generate(labels, 50, gpudl.Generator(1)).numpy()
    correct = (drawn.round() == PATTERNS[labels.numpy()]).all(1).mean()
    assert correct > 0.8, correct
    assert trained.sample(6).shape == (6, PIXELS)
    small = gpudl.models.create("dbn", image_size=4, hidden=(5, 3))
    assert small.sample(3).shape == (3, 1, 4, 4)


def test_fine_tuning_continues_from_pretraining(trained):
    net = copy.deepcopy(trained)
    images, labels = data(10)
    optimizer = sgd(net.parameters(), lr=0.5)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[0] < 0.6  # guessing gives 0.69
    assert losses[-1] < 0.1
    # Generative parameters get no gradient: all visible biases except those of the classes.
    assert all(layer.visible_bias.grad is None for layer in net.layers)
    np.testing.assert_array_equal(net.top.visible_bias.grad.numpy()[:6], 0)


def test_all_layers_at_once():
    gpudl.manual_seed(2)
    net = DBN(PIXELS, (8, 6, 10), CLASSES)
    stepper = net.make_stepper(sgd)
    images, labels = data(20)
    losses = [stepper.step(images, labels)["loss"].item() for _ in range(150)]
    assert losses[-1] < losses[0] / 2
    assert set(net.judge(images, labels)) == {"loss", "accuracy"}


def test_generation_holds_the_class():
    """A top machine in which the class unit alone determines each feature."""
    net = DBN(3, (3, 2), CLASSES)
    net.top.weight.array[...] = 0
    net.top.weight.array[:, 3:] = [[20, -20], [-20, 20]]
    net.top.weight.array[:, :3] = [[20, 20, -20], [-20, -20, 20]]
    net.layers[0].weight.array[...] = 40 * np.eye(3)
    net.layers[0].visible_bias.array[...] = -20
    drawn = net.generate(gpudl.tensor([0, 1, 1]), 3).numpy()
    np.testing.assert_allclose(drawn, [[1, 1, 0], [0, 0, 1], [0, 0, 1]], atol=1e-6)


def test_a_net_without_classes_gives_codes():
    net = DBN(PIXELS, (5, 3), 0)
    images, _ = data(3)
    pretrain(net, images, None, sgd, (1, 0))
    np.testing.assert_allclose(net(images).detach(), F.sigmoid(net.code(images)).detach())
    assert net.code(images).shape == (6, 3)
    with pytest.raises(TypeError, match="no class units"):
        net.generate(gpudl.tensor([0]))


def test_the_emulator_learns_and_generates_the_same():
    results = []
    for device in ("cpu", "emulator"):
        gpudl.manual_seed(3)
        net = DBN(PIXELS, (5, 4, 7), CLASSES, device=device)
        images, labels = (t.to(device) for t in data(10))
        pretrain(net, images, labels, sgd, (1, 1, 1), batch_size=10, chains=4)
        results.append([net(images).detach().cpu(), net.sample(4).cpu()])
    for cpu, emulator in zip(*results, strict=True):
        np.testing.assert_allclose(cpu.numpy(), emulator.numpy(), rtol=1e-4, atol=1e-5)


def test_invalid_arguments_are_refused():
    images, labels = data(2)
    net = DBN(PIXELS, (3, 4), CLASSES)
    with pytest.raises(ValueError, match="hidden is empty"):
        DBN(PIXELS, ())
    with pytest.raises(ValueError, match="epochs has 3 entries; give 2"):
        pretrain(net, images, labels, sgd, (1, 1, 1))
    with pytest.raises(ValueError, match="give labels if the net has classes"):
        pretrain(net, images, None, sgd, (1, 1))


def test_only_weights_decay():
    net = DBN(PIXELS, (3, 4), CLASSES)
    weights, biases = parameter_groups(net.top, 0.1)
    assert (weights["weight_decay"], biases["weight_decay"]) == (0.1, 0)
    assert [id(w) for w in weights["params"]] == [id(net.top.weight)]
    assert [id(b) for b in biases["params"]] == [id(net.top.visible_bias), id(net.top.hidden_bias)]
