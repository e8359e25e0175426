"""LeNet-5 of 1998: parameter counts, connections, loss, PyTorch's outputs."""

import numpy as np
import pytest

import gpudl
from gpudl import models
from gpudl.models.nets import lenet_1998 as lenet
from gpudl.models.nets.lenet_codes import codes


def test_trainable_parameters_layer_by_layer():
    net = models.lenet5_1998()
    counts = {n: sum(p.numel() for p in m.parameters()) for n, m in net.named_children()}
    # Section II.B of the paper.
    published = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164}
    assert {name: count for name, count in counts.items() if count} == published
    assert sum(p.numel() for p in net.parameters()) == 60_000
    assert sum(p.numel() for p in models.lenet5().parameters()) == 61_706


def test_the_connection_table_is_the_papers():
    drawn = [
        "X...XXX..XXXX.XX",
        "XX...XXX..XXXX.X",
        "XXX...XXX..X.XXX",
        ".XXX..XXXX..X.XX",
        "..XXX..XXXX.XX.X",
        "...XXX..XXXX.XXX",
    ]
    ours = ["".join(".X"[row in maps] for maps in lenet.C3_INPUTS) for row in range(6)]
    assert ours == drawn


def test_the_codes_are_ten_different_pictures():
    drawn = codes()
    assert drawn.shape == (10, 84)
    assert set(np.unique(drawn)) == {-1, 1}
    distances = ((drawn[:, None] - drawn) ** 2).sum(2) / 4  # pixels in which two digits differ
    assert distances[~np.eye(10, dtype=bool)].min() >= 5
    with pytest.raises(ValueError, match="count is 11; it must be from 1 to 10"):
        codes(11)


def twin(torch, state, images):
    """The 1998 network in PyTorch, with the weights of ours."""
    w = {name: torch.from_numpy(value.numpy().copy()) for name, value in state.items()}
    f = torch.nn.functional

    def squash(x):
        return 1.7159 * torch.tanh(2 / 3 * x)

    def subsample(x, name):
        total = 4 * f.avg_pool2d(x, 2)
        shape = (1, -1, 1, 1)
        return squash(total * w[f"{name}.weight"].view(shape) + w[f"{name}.bias"].view(shape))

    x = squash(f.conv2d(images, w["c1.weight"], w["c1.bias"]))
    x = subsample(x, "s2")
    dense, number = torch.zeros(16, 6, 5, 5), 0
    for output, channels in enumerate(lenet.C3_INPUTS):
        for channel in channels:
            dense[output, channel] = w["c3.weight"][number]
            number += 1
    x = subsample(squash(f.conv2d(x, dense, w["c3.bias"])), "s4")
    x = squash(f.conv2d(x, w["c5.weight"], w["c5.bias"])).flatten(1)
    x = squash(f.linear(x, w["f6.weight"], w["f6.bias"]))
    return -((x[:, None] - w["output.codes"]) ** 2).sum(2)


def test_scores_equal_pytorchs():
    torch = pytest.importorskip("torch")
    gpudl.manual_seed(0)
    net = models.lenet5_1998()
    images = np.random.default_rng(0).uniform(-0.1, 1.175, (3, 1, 32, 32)).astype(np.float32)
    ours = net(gpudl.tensor(images)).detach().numpy()
    theirs = twin(torch, net.state_dict(), torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)


def test_the_loss_is_equation_9():
    rng = np.random.default_rng(0)
    penalties, labels, j = rng.uniform(0, 3, (5, 10)), rng.integers(0, 10, 5), 0.7
    sums = np.exp(-j) + np.exp(-penalties).sum(1)
    expected = (penalties[np.arange(5), labels] + np.log(sums)).mean()
    scores = gpudl.tensor((-penalties).astype(np.float32))
    assert lenet.map_loss(scores, gpudl.tensor(labels), j).item() == pytest.approx(expected, 1e-5)


def test_small_images_are_padded_with_their_edges_and_a_step_lowers_the_loss():
    gpudl.manual_seed(0)
    net = models.lenet5_1998()
    rng = np.random.default_rng(0)
    inner = rng.uniform(-0.1, 1.175, (8, 1, 28, 28)).astype(np.float32)
    whole = np.pad(inner, [(0, 0), (0, 0), (2, 2), (2, 2)], mode="edge")
    small, large = (net(gpudl.tensor(x)) for x in (inner, whole))
    np.testing.assert_array_equal(small.detach().numpy(), large.detach().numpy())
    labels = gpudl.tensor(np.arange(8))
    optimizer = gpudl.optim.SGD(net.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        loss = lenet.map_loss(net(gpudl.tensor(inner)), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    assert all(p.grad is not None and np.any(p.grad.numpy()) for p in net.parameters())
