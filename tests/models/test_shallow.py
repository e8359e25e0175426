"""Shallow nets: the kernels of their features, and the curvature that limits the step."""

import numpy as np
import pytest

import gpudl
from gpudl import models, nn, optim
from gpudl.models.nets import shallow


def test_cosine_features_approximate_the_gaussian_kernel():
    gpudl.manual_seed(0)
    points = np.random.default_rng(0).standard_normal((30, 5)).astype(np.float32)
    squared_distances = ((points[:, None] - points) ** 2).sum(2)
    kernel = np.exp(-squared_distances / (2 * 2.0**2))
    errors = []
    for count in (100, 10_000):
        z = shallow.CosineFeatures(5, count, width=2.0)(gpudl.tensor(points)).numpy()
        errors.append(np.abs(z @ z.T - kernel).max())
    assert errors[1] < 0.05  # about 1/√count
    assert errors[1] < errors[0] / 4


def test_gaussian_features_are_the_kernel_itself():
    rng = np.random.default_rng(0)
    x, c = (rng.standard_normal((n, 5)).astype(np.float32) for n in (6, 4))
    squared_distances = ((x[:, None] - c) ** 2).sum(2)
    features = shallow.GaussianFeatures(gpudl.tensor(c), width=1.5)(gpudl.tensor(x)).numpy()
    np.testing.assert_allclose(features, np.exp(-squared_distances / (2 * 1.5**2)), rtol=1e-4)


@pytest.mark.parametrize(("loss", "factor"), [("least squares", 1), ("logistic", 1 / 4)])
def test_the_hessians_norm(loss, factor):
    z = np.random.default_rng(0).standard_normal((50, 6)).astype(np.float32)
    largest = np.linalg.eigvalsh(z.T @ z / 50)[-1]
    got = shallow.hessian_norm(gpudl.tensor(z), loss)
    assert got == pytest.approx(factor * largest, rel=1e-4)


def test_an_unknown_loss_is_refused():
    with pytest.raises(ValueError, match="loss is 'hinge'; it must be one of"):
        shallow.hessian_norm(gpudl.ones(2, 2), "hinge")


@pytest.mark.parametrize(("factor", "falls"), [(1.0, True), (1.9, True), (2.1, False)])
def test_descent_converges_only_below_two_over_the_hessians_norm(factor, falls):
    rng = np.random.default_rng(0)
    z = gpudl.tensor(rng.standard_normal((50, 6)).astype(np.float32))
    t = gpudl.tensor(rng.standard_normal((50, 1)).astype(np.float32))
    w = nn.Parameter(np.zeros((6, 1), np.float32))
    optimizer = optim.SGD([w], lr=factor / shallow.hessian_norm(z))
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        loss = (z @ w - t).square().mean() / 2
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert (losses[-1] < losses[0]) == falls
    assert not falls or np.all(np.diff(losses) <= 1e-7)


def test_the_average_is_the_mean_of_past_values():
    w = gpudl.zeros(3)
    average = shallow.Average(w)
    for step in range(5):
        w.fill_(float(step))
        average.update()
    np.testing.assert_allclose(average.value.numpy(), 2.0)


def test_counts_and_logits_equal_pytorchs():
    torch = pytest.importorskip("torch")
    net = models.cosine_net(features=50)
    assert sum(p.numel() for p in models.logistic_regression().parameters()) == 2570
    assert sum(p.numel() for p in net.parameters()) == 50 * 10 + 10
    images = np.random.default_rng(0).random((3, 1, 16, 16), np.float32)
    w = {n: torch.from_numpy(v.numpy().copy()) for n, v in net.state_dict().items()}
    linear = torch.nn.functional.linear
    z = linear(torch.from_numpy(images).flatten(1), w["features.weight"], w["features.bias"])
    theirs = linear((2 / 50) ** 0.5 * z.cos(), w["linear.weight"], w["linear.bias"])
    ours = net(gpudl.tensor(images)).detach().numpy()
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


def test_linear_regression_takes_averaged_steps_of_descent():
    net = models.linear_regression(num_classes=3, image_size=2)
    assert sum(p.numel() for p in net.parameters()) == 4 * 3 + 3
    rng = np.random.default_rng(0)
    images, labels = rng.random((6, 1, 2, 2), np.float32), np.array([0, 1, 2, 2, 1, 0])
    steps = net.make_stepper(lambda parameters: optim.SGD(parameters, lr=0.1))
    weights, history = net.linear.weight.detach().numpy().copy(), []
    bias = net.linear.bias.detach().numpy().copy()
    x, t = images.reshape(6, 4), 2 * np.eye(3)[labels] - 1
    for _ in range(3):
        errors = x @ weights.T + bias - t
        loss = steps.step(gpudl.tensor(images), gpudl.tensor(labels))["loss"].item()
        assert loss == pytest.approx((errors**2).sum() / 12, rel=1e-5)
        weights, bias = weights - 0.1 * errors.T @ x / 6, bias - 0.1 * errors.mean(0)
        history.append((weights, bias))
    mean, mean_bias = (np.mean(part, 0) for part in zip(*history, strict=True))
    answers = net.eval()(gpudl.tensor(images)).detach().numpy()
    np.testing.assert_allclose(answers, x @ mean.T + mean_bias, atol=1e-5)


def test_the_gaussian_net_takes_its_centres_from_the_first_images():
    net = models.gaussian_net(num_classes=3, image_size=2, centres=5)
    assert sum(p.numel() for p in net.parameters()) == 5 * 3 + 3
    images = np.random.default_rng(0).random((8, 1, 2, 2), np.float32)
    assert [net.learn(gpudl.tensor(part)) for part in (images[:3], images[3:], images)] == [3, 2, 0]
    np.testing.assert_array_equal(net.kernel.centres.numpy(), images[:5].reshape(5, 4))


def test_the_gaussian_nets_logits_equal_pytorchs():
    torch = pytest.importorskip("torch")
    net = models.gaussian_net(centres=20)
    images = np.random.default_rng(0).random((23, 1, 16, 16), np.float32)
    net.learn(gpudl.tensor(images))
    w = {n: torch.from_numpy(v.numpy().copy()) for n, v in net.state_dict().items()}
    squared_distances = torch.cdist(torch.from_numpy(images).flatten(1), w["kernel.centres"])
    z = (-(squared_distances**2) / (2 * 2.0**2)).exp()
    theirs = torch.nn.functional.linear(z, w["readout.weight"], w["readout.bias"])
    ours = net(gpudl.tensor(images)).detach().numpy()
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)
