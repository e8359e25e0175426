"""Shallow nets: how fast descent comes down, as theory says; what fixed features are good for."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpudl
from gpudl import nn, optim, tensor
from gpudl.models.shallow import (
    Average,
    CosineFeatures,
    GaussianFeatures,
    ShallowNet,
    hessian_norm,
)
from gpudl.nn import functional as F
from gpudl.optim.lr_scheduler import LambdaLR
from gpudl.tensor import Tensor
from gpudl.zoo.page import Page, page

DIGIT = 5  # of the problems with two classes: this digit or another
RIDGE = 0.01  # of logistic regression
COMPONENTS, RUNS = 4, 20  # of stochastic descent
WIDTH = 11.0  # of the Gaussian kernel; pixels are in [-1, 1]
COUNTS = (100, 300, 1000, 3000)


@page("Shallow nets", minutes=1)
def shallow(page: Page) -> None:
    """One trained layer, on pixels or on features that are not trained: linear regression,
    logistic regression (Cox 1958), random cosine features (Rahimi and Recht, Random Features for
    Large-Scale Kernel Machines, 2007) and Gaussian kernels. Their loss is convex, so theory says
    how fast descent comes down; here it is asked whether it does."""
    x, y, x_test, y_test = page.usps()
    x, x_test = (2 * images.reshape(len(images), -1) - 1 for images in (x, x_test))
    signs = np.where(y == DIGIT, 1.0, -1.0)[:, None]
    _least_squares(page, _with_one(x), signs)
    _logistic(page, _with_one(x), signs)
    _stochastic(page, x, signs)
    _accuracies(page, x, y, x_test, y_test)


def _with_one(x: Any) -> Any:
    """A column of ones at the end, which makes the last weight a bias; double precision."""
    return np.concatenate([x, np.ones((len(x), 1))], axis=1).astype(np.float64)


def _descend(loss: Any, width: int, lr: float, steps: int) -> Any:
    """The loss before each of `steps` steps of gradient descent from 0."""
    w = nn.Parameter(np.zeros((width, 1)))
    optimizer = optim.SGD([w], lr=lr)
    values = []
    for _ in range(steps):
        optimizer.zero_grad()
        value = loss(w)
        value.backward()
        values.append(value.item())
        optimizer.step()
    return np.array(values)


def _least_squares(page: Page, z: Any, t: Any) -> None:
    """Descent on the mean of (z·w - t)²/2, against the exact solution of its recursion."""
    inputs, targets = tensor(z), tensor(t)
    steepest = hessian_norm(inputs)
    curvatures, axes_ = np.linalg.eigh(z.T @ z / len(z))
    best = np.linalg.lstsq(z, t, rcond=None)[0]
    lowest = float(np.mean((z @ best - t) ** 2) / 2)
    along = (axes_.T @ best)[:, 0]
    steps = page.pick(600, 10)
    times = np.arange(steps)

    def loss(w: Tensor) -> Tensor:
        return (inputs @ w - targets).square().mean() / 2

    worst = 0.0
    with page.axes("least-squares", "Least squares: distance of the loss from its minimum; dotted, "
                   "what theory says") as axes:  # fmt: skip
        for factor in (0.3, 1.0, 1.9):
            found = _descend(loss, z.shape[1], factor / steepest, steps) - lowest
            shrink = (1 - factor / steepest * curvatures[:, None]) ** (2 * times)
            theory = (curvatures * along**2) @ shrink / 2
            worst = max(worst, float(np.abs(found / theory - 1).max()))
            axes.loglog(times + 1, found, label=f"step {factor}/L")
            axes.loglog(times + 1, theory, ":", color="black")
        bound = steepest * float((best**2).sum()) / (2 * np.maximum(times, 1))
        axes.loglog(times + 1, bound, color="#6b7280", linewidth=0.8, label="bound for step 1/L")
        beyond = _descend(loss, z.shape[1], 2.02 / steepest, steps) - lowest
        axes.loglog(times + 1, beyond, label="step 2.02/L")
        axes.set(xlabel="step", ylabel="loss - minimum", ylim=(lowest * 1e-4, 1e3))
        axes.legend()
    exact = float(curvatures[-1])
    page.check("power iteration finds the Hessian's norm L", abs(steepest / exact - 1) < 1e-6,
               f"{steepest:.6f} against {exact:.6f}")  # fmt: skip
    page.check("descent follows the closed form of its recursion", worst < 1e-6,
               f"relative difference {worst:.1e} at most")  # fmt: skip
    page.check("beyond 2/L descent diverges", beyond[-1] > beyond[0],
               f"{beyond[-1] / beyond[0]:.3g} times the loss of the start")  # fmt: skip


def _logistic(page: Page, z: Any, signs: Any) -> None:
    """Descent with step 1/L comes down at least as (1 - RIDGE/L)^t (Nesterov 2004, 2.1.15)."""
    inputs, targets = tensor(z), tensor(signs)
    curvature = hessian_norm(inputs, "logistic") + RIDGE

    def loss(w: Tensor) -> Tensor:
        return F.softplus(-targets * (inputs @ w)).mean() + RIDGE / 2 * w.square().sum()

    steps = page.pick(600, 10)
    lowest = loss(tensor(_newton(z, signs))).item()
    found = _descend(loss, z.shape[1], 1 / curvature, steps) - lowest
    bound = found[0] * (1 - RIDGE / curvature) ** np.arange(steps)
    with page.axes("logistic", "Logistic regression, step 1/L: distance of the loss from its "
                   "minimum") as axes:  # fmt: skip
        axes.semilogy(found, label="measured")
        axes.semilogy(bound, ":", color="black", label="bound")
        axes.set(xlabel="step", ylabel="loss - minimum")
        axes.legend()
    page.check("with step 1/L the logistic loss never goes up", bool((np.diff(found) <= 0).all()),
               f"from {found[0]:.3g} to {found[-1]:.3g} above the minimum")  # fmt: skip
    page.check("and stays below the bound", bool((found <= bound * (1 + 1e-9)).all()),
               f"{found[-1] / bound[-1]:.3g} of it at the end")  # fmt: skip


def _newton(z: Any, signs: Any, steps: int = 12) -> Any:
    """The minimum of the logistic loss with its ridge, by Newton's method."""
    w = np.zeros((z.shape[1], 1))
    for _ in range(steps):
        wrong = 1 / (1 + np.exp(signs * (z @ w)))
        gradient = -z.T @ (signs * wrong) / len(z) + RIDGE * w
        hessian = (z * (wrong * (1 - wrong))).T @ z / len(z) + RIDGE * np.eye(len(w))
        w -= np.linalg.solve(hessian, gradient)
    return w


def _stochastic(page: Page, x: Any, signs: Any) -> None:
    """Stochastic descent on least squares, one sample a step, 1/√t, alone and averaged."""
    z = x - x.mean(0)
    left, _, _ = np.linalg.svd(z, full_matrices=False)
    z = _with_one(left[:, :COMPONENTS] * np.sqrt(len(x))).astype(np.float32)
    best = np.linalg.lstsq(z, signs, rcond=None)[0]
    steps = page.pick(20_000, 40)
    w = nn.Parameter(np.zeros((RUNS, z.shape[1], 1), np.float32))  # of independent runs
    average = Average(w)
    optimizer = optim.SGD([w], lr=1 / (2 * z.shape[1]))
    schedule = LambdaLR(optimizer, lambda t: 1 / np.sqrt(t + 1))
    marks = set(np.unique(np.geomspace(1, steps, 60).astype(int)).tolist())
    rng = np.random.default_rng(page.seed)
    course = []
    for step in range(1, steps + 1):
        chosen = rng.integers(0, len(z), RUNS)
        said = tensor(z[chosen][:, None]) @ w
        optimizer.zero_grad()
        loss = (said - tensor(signs[chosen][:, None].astype(np.float32))).square().sum() / 2
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update()
        if step in marks:
            excess = [
                float(((value.detach().numpy() - best) ** 2).sum((1, 2)).mean()) / 2
                for value in (w, average.value)
            ]
            course.append((step, *excess))
    # Half the trace of H⁻¹Σ over t, with H the Hessian and Σ the gradients' covariance.
    gradients = z * (z @ best - signs)
    spread = np.trace(np.linalg.solve(z.T @ z, gradients.T @ gradients))
    _draw_rates(page, np.array(course), spread / 2 / np.array(course)[:, 0])


def _draw_rates(page: Page, course: Any, least: Any) -> None:
    """least: of each time, the smallest loss above the minimum that any estimate can have."""
    times, last, mean = course.T
    late = times > times[-1] / 50
    slope = float(np.polyfit(np.log(times[late]), np.log(last[late]), 1)[0])
    with page.axes("stochastic", f"Stochastic descent with steps falling as 1/√t, the mean of "
                   f"{RUNS} runs: loss above the minimum") as axes:  # fmt: skip
        axes.loglog(times, last, label="last iterate")
        axes.loglog(times, mean, label="average of the iterates")
        axes.loglog(times, least, ":", color="black", label="least possible, falls as 1/t")
        reach = np.array([times[late][0], times[-1]])
        axes.loglog(reach, last[late][0] * (reach / reach[0]) ** -0.5, "--", color="#6b7280",
                    label="1/√t")  # fmt: skip
        axes.set(xlabel="samples seen", ylabel="loss - minimum")
        axes.legend()
    page.check("the last iterate falls as 1/√t", abs(slope + 0.5) < 0.12, f"t^{slope:.2f}")
    ratio = float(mean[-1] / least[-1])
    page.check("the average ends at the least that any estimate can have (Polyak and Juditsky "
               "1992), within 40 %", 0.6 < ratio < 1.4, f"{ratio:.2f} of it")  # fmt: skip
    page.check("at the end the average is the better one", mean[-1] < last[-1],
               f"{mean[-1]:.2e} against {last[-1]:.2e}")  # fmt: skip


def _accuracies(page: Page, x: Any, y: Any, x_test: Any, y_test: Any) -> None:
    train, test = (x - x.mean(0), y), (x_test - x.mean(0), y_test)
    softmax = _softmax(page, train, test)
    width = x.shape[1] + 1  # with the bias
    rows = [
        ("linear regression, pixels", width, _regression(train, test, None)),
        ("logistic regression, last iterate", width, softmax[0]),
        ("logistic regression, average of the iterates", width, softmax[1]),
    ]
    counts = page.pick(COUNTS, COUNTS[:2])
    kinds: dict[str, list[float]] = {"cosine": [], "Gaussian": []}
    for count in counts:
        cosine = CosineFeatures(x.shape[1], count, WIDTH)
        chosen = np.random.default_rng(page.seed).permutation(len(x))[:count]
        gaussian = GaussianFeatures(tensor(train[0][chosen]), WIDTH)
        for name, features in (("cosine", cosine), ("Gaussian", gaussian)):
            kinds[name].append(_regression(train, test, features))
    for name, found in kinds.items():
        rows.append((f"linear regression, {name} features", counts[-1], found[-1]))
    page.table(
        ("model", "features", "USPS test accuracy"),
        [(name, count, f"{accuracy:.2%}") for name, count, accuracy in rows],
        caption="USPS, ten digits. Linear regressions are solved exactly; logistic regression by "
        "stochastic descent with 1/√t, 64 digits a step",
    )
    with page.axes("features", "USPS test error by the number of features") as axes:
        for name, found in kinds.items():
            axes.semilogx(counts, [100 * (1 - accuracy) for accuracy in found], "o-", label=name)
        axes.axhline(100 * (1 - rows[0][2]), color="#6b7280", label="pixels")
        axes.set(xlabel="features", ylabel="test error, %")
        axes.legend()
    page.check("logistic regression reads 90 % or more", softmax[1] >= 0.9, f"{softmax[1]:.2%}")
    for name, least in (("cosine", 0.93), ("Gaussian", 0.945)):
        share = kinds[name][-1]
        page.check(f"{name} features read {least:.1%} or more", share >= least, f"{share:.2%}")


def _regression(train: Any, test: Any, features: Any) -> float:
    """Test accuracy of least squares on targets -1 and 1, with a ridge against rounding."""
    parts = []
    for images, _ in (train, test):
        with gpudl.no_grad():
            parts.append(_with_one(features(tensor(images)).numpy() if features else images))
    targets = 2.0 * np.eye(10)[train[1]] - 1
    gram = parts[0].T @ parts[0]
    gram += 1e-6 * np.trace(gram) / len(gram) * np.eye(len(gram))
    weights = np.linalg.solve(gram, parts[0].T @ targets)
    return float(np.mean((parts[1] @ weights).argmax(1) == test[1]))


def _softmax(page: Page, train: Any, test: Any) -> tuple[float, float]:
    """Test accuracies of logistic regression by stochastic descent: last iterate, average.

    The loss is as curved as L only where all classes are equally likely, so the first steps may be
    longer than 1/L."""
    net = ShallowNet(train[0].shape[1], 10)
    averages = [Average(parameter) for parameter in net.parameters()]
    optimizer = optim.SGD(net.parameters(), lr=10 / hessian_norm(tensor(train[0]), "softmax"))
    schedule = LambdaLR(optimizer, lambda t: 1 / np.sqrt(t + 1))
    rng = np.random.default_rng(page.seed)
    for _ in range(page.pick(5000, 10)):
        chosen = rng.integers(0, len(train[0]), 64)
        optimizer.zero_grad()
        F.cross_entropy(net(tensor(train[0][chosen])), tensor(train[1][chosen])).backward()
        optimizer.step()
        schedule.step()
        for average in averages:
            average.update()
    with gpudl.no_grad():
        last = net(tensor(test[0])).numpy()
        for parameter, average in zip(net.parameters(), averages, strict=True):
            parameter.copy_(average.value)
        mean = net(tensor(test[0])).numpy()
    first, second = (float(np.mean(said.argmax(1) == test[1])) for said in (last, mean))
    return first, second
