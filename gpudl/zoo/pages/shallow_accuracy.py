"""Accuracies for the page on shallow nets: pixels, cosine and Gaussian features."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpudl
from gpudl import nn, optim
from gpudl.models.nets.shallow import (
    Average,
    CosineFeatures,
    GaussianFeatures,
    ShallowNet,
    hessian_norm,
)
from gpudl.nn import functional as F
from gpudl.optim.lr_scheduler import LambdaLR
from gpudl.zoo.page import Page
from gpudl.zoo.unsupervised import mapped

WIDTH = 11.0  # of the Gaussian kernel; pixels are in [-1, 1]
COUNTS = (100, 300, 1000, 3000)


def with_one(x: Any) -> Any:
    """Append a column of ones, which makes the last weight a bias; in double precision."""
    return np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float64)


def accuracies(page: Page, x: Any, y: Any, x_test: Any, y_test: Any) -> None:
    train, test = (x - x.mean(0), y), (x_test - x.mean(0), y_test)
    softmax = _softmax(page, train, test)
    width, steps = x.shape[1] + 1, page.pick(300, 5)  # with the bias
    rows = [
        ("linear regression, pixels", width, _regression(page, train, test, None)),
        (f"the same by {steps} descent steps, 1/L", width, _descended(page, train, test, steps)),
        ("logistic regression, last iterate", width, softmax[0]),
        ("logistic regression, average of the iterates", width, softmax[1]),
    ]
    counts = page.pick(COUNTS, COUNTS[:2])
    kinds: dict[str, list[float]] = {"cosine": [], "Gaussian": []}
    for count in counts:
        cosine = CosineFeatures(x.shape[1], count, WIDTH).to(page.device)
        chosen = np.random.default_rng(page.seed).permutation(len(x))[:count]
        gaussian = GaussianFeatures(page.tensor(train[0][chosen]), WIDTH)
        for name, features in (("cosine", cosine), ("Gaussian", gaussian)):
            kinds[name].append(_regression(page, train, test, features))
    for name, found in kinds.items():
        rows.append((f"linear regression, {name} features", counts[-1], found[-1]))
    page.table(
        ("model", "features", "USPS test accuracy"),
        [(name, count, f"{accuracy:.2%}") for name, count, accuracy in rows],
        caption="USPS, ten digits. All linear regressions but the second are solved exactly; "
        "logistic regression by stochastic descent with step sizes 1/√t, 64 digits per step",
    )
    _draw_features(page, counts, kinds, rows[0][2])
    page.check("logistic regression: 90 % or more", softmax[1] >= 0.9, f"{softmax[1]:.2%}")
    for name, least in (("cosine", 0.93), ("Gaussian", 0.945)):
        share = kinds[name][-1]
        page.check(f"{name} features: {least:.1%} or more", share >= least, f"{share:.2%}")


def _draw_features(
    page: Page, counts: tuple[int, ...], kinds: dict[str, list[float]], pixels: float
) -> None:
    with page.axes("features", "USPS test error by number of features") as axes:
        for name, found in kinds.items():
            axes.semilogx(counts, [100 * (1 - accuracy) for accuracy in found], "o-", label=name)
        axes.axhline(100 * (1 - pixels), color="#6b7280", label="pixels")
        axes.set(xlabel="features", ylabel="test error, %")
        axes.legend()


def _regression(page: Page, train: Any, test: Any, features: Any) -> float:
    """Test accuracy of least squares on targets -1 and 1, with a small ridge against rounding. The
    features come from the page's device, the solution from NumPy in double precision."""
    parts = []
    for images, _ in (train, test):
        parts.append(with_one(mapped(page, features, images) if features else images))
    gram = parts[0].T @ parts[0]
    gram += 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
    weights = np.linalg.solve(gram, parts[0].T @ _targets(train[1]))
    return _share(parts[1] @ weights, test[1])


def _descended(page: Page, train: Any, test: Any, steps: int) -> float:
    """The same by gradient descent from 0 on pixels."""
    inputs, targets = (
        page.tensor(part, np.float32) for part in (with_one(train[0]), _targets(train[1]))
    )
    w = nn.Parameter(page.tensor(np.zeros((inputs.shape[1], 10), np.float32)))
    optimizer = optim.SGD([w], lr=1 / hessian_norm(inputs))
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (inputs @ w - targets).square().sum() / (2 * len(inputs))
        loss.backward()
        optimizer.step()
    predictions = page.tensor(with_one(test[0]), np.float32) @ w.detach()
    return _share(predictions.numpy(), test[1])


def _targets(labels: Any) -> Any:
    return 2.0 * np.eye(10)[labels] - 1


def _share(predictions: Any, labels: Any) -> float:
    return float(np.mean(predictions.argmax(1) == labels))


def _softmax(page: Page, train: Any, test: Any) -> tuple[float, float]:
    """Test accuracies of logistic regression by stochastic descent: last iterate and average.

    The curvature reaches L only where all classes are equally likely, so the first steps may be
    longer than 1/L."""
    inputs, labels, tested = (page.tensor(part) for part in (*train, test[0]))
    net = ShallowNet(inputs.shape[1], 10).to(page.device)
    averages = [Average(parameter) for parameter in net.parameters()]
    optimizer = optim.SGD(net.parameters(), lr=10 / hessian_norm(inputs, "softmax"))
    schedule = LambdaLR(optimizer, lambda t: 1 / np.sqrt(t + 1))
    steps = page.pick(5000, 10)
    chosen = np.random.default_rng(page.seed).integers(0, len(inputs), (steps, 64))
    order = page.tensor(chosen)
    for step in range(steps):
        rows = order[step]
        optimizer.zero_grad()
        F.cross_entropy(net(inputs[rows]), labels[rows]).backward()
        optimizer.step()
        schedule.step()
        for average in averages:
            average.update()
    with gpudl.no_grad():
        last = net(tested).numpy()
        for parameter, average in zip(net.parameters(), averages, strict=True):
            parameter.copy_(average.value)
        mean = net(tested).numpy()
    return _share(last, test[1]), _share(mean, test[1])
