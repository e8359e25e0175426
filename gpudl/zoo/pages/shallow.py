"""Shallow nets: the speed of descent compared with theory; the value of fixed features."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpudl
from gpudl import nn, optim
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.shallow import Average, hessian_norm
from gpudl.nn import functional as F
from gpudl.optim.lr_scheduler import LambdaLR
from gpudl.zoo.page import Page, page
from gpudl.zoo.pages.shallow_accuracy import accuracies, with_one

DIGIT = 5  # the two-class problems: this digit or another
RIDGE = 0.01  # in logistic regression
COMPONENTS, RUNS = 4, 20  # for stochastic descent


@page("Shallow nets", minutes=1)
def shallow(page: Page) -> None:
    """One trained layer, on pixels or on fixed features: linear regression, logistic regression
    (Cox 1958), random cosine features (Rahimi and Recht, Random Features for Large-Scale Kernel
    Machines, 2007) and Gaussian kernels. The loss is convex, so theory predicts how fast gradient
    descent converges; this page compares the prediction with measurements."""
    x, y, x_test, y_test = page.usps()
    x, x_test = (2 * images.reshape(len(images), -1) - 1 for images in (x, x_test))
    signs = np.where(y == DIGIT, 1.0, -1.0)[:, None]
    _least_squares(page, with_one(x), signs)
    _logistic(page, with_one(x), signs)
    _stochastic(page, x, signs)
    accuracies(page, x, y, x_test, y_test)


def _descend(page: Page, loss: Any, shape: tuple[int, ...], lr: float, steps: int) -> Any:
    """The weights before each of `steps` steps of gradient descent from 0, (steps, *shape)."""
    w = nn.Parameter(page.tensor(np.zeros(shape), page.widest))
    optimizer = optim.SGD([w], lr=lr)
    course = []
    for _ in range(steps):
        course.append(w.detach().clone())
        optimizer.zero_grad()
        loss(w).backward()
        optimizer.step()
    return gpudl.stack(course).numpy().astype(np.float64)


def _least_squares(page: Page, z: Any, t: Any) -> None:
    """Descent on the mean of (z·w - t)²/2, compared with the exact solution of its recursion."""
    inputs, targets = (page.tensor(part, page.widest) for part in (z, t))
    steepest = hessian_norm(inputs)
    hessian = z.T @ z / len(z)
    curvatures, axes_ = np.linalg.eigh(hessian)
    best = np.linalg.lstsq(z, t, rcond=None)[0]
    steps = page.pick(600, 10)

    def loss(w: Tensor) -> Tensor:
        return (inputs @ w - targets).square().mean() / 2

    def above(factor: float) -> Any:
        """The loss above its minimum, before each step of factor/L."""
        apart = _descend(page, loss, best.shape, factor / steepest, steps)[:, :, 0] - best[:, 0]
        return ((apart @ hessian) * apart).sum(1) / 2

    found = {factor: above(factor) for factor in (0.3, 1.0, 1.9, 2.02)}
    along = (axes_.T @ best)[:, 0]
    worst = _draw_descent(page, found, steepest, curvatures, along)
    exact, near = float(curvatures[-1]), 1e-6 if page.widest == np.float64 else 1e-4
    page.check(f"power iteration finds the Hessian's norm L, to {near:.0e}",
               abs(steepest / exact - 1) < near, f"{steepest:.6f} against {exact:.6f}")  # fmt: skip
    page.check(f"descent follows the closed form of its recursion, to {near:.0e}", worst < near,
               f"relative difference at most {worst:.1e}")  # fmt: skip
    beyond = found[2.02]
    page.check("above 2/L descent diverges", beyond[-1] > beyond[0],
               f"{beyond[-1] / beyond[0]:.3g} times the initial loss")  # fmt: skip


def _draw_descent(
    page: Page, found: dict[float, Any], steepest: float, curvatures: Any, along: Any
) -> float:
    """Draws the loss above its minimum for steps of factor/L; returns the largest relative
    difference from theory. along: the solution in the Hessian's eigenvectors."""
    times = np.arange(len(found[1.0]))
    worst = 0.0
    with page.axes("least-squares", "Least squares: loss above its minimum; dotted, theory") \
                   as axes:  # fmt: skip
        for factor, measured in found.items():
            axes.loglog(times + 1, measured, label=f"step {factor}/L")
            if factor < 2:
                shrink = (1 - factor / steepest * curvatures[:, None]) ** (2 * times)
                theory = (curvatures * along**2) @ shrink / 2
                worst = max(worst, float(np.abs(measured / theory - 1).max()))
                axes.loglog(times + 1, theory, ":", color="black")
        bound = steepest * float((along**2).sum()) / (2 * np.maximum(times, 1))
        axes.loglog(times + 1, bound, color="#6b7280", linewidth=0.8, label="bound for step 1/L")
        start = found[1.0][0]
        axes.set(xlabel="step", ylabel="loss - minimum", ylim=(start * 1e-5, start * 3e3))
        axes.legend(loc="lower left")
    return worst


def _logistic(page: Page, z: Any, signs: Any) -> None:
    """Descent with step 1/L converges at least as (1 - RIDGE/L)^t (Nesterov 2004, 2.1.15)."""
    inputs, targets = (page.tensor(part, page.widest) for part in (z, signs))
    curvature = hessian_norm(inputs, "logistic") + RIDGE

    def loss(w: Tensor) -> Tensor:
        return F.softplus(-targets * (inputs @ w)).mean() + RIDGE / 2 * w.square().sum()

    steps = page.pick(600, 10)
    course = _descend(page, loss, (z.shape[1], 1), 1 / curvature, steps)
    values = [_logistic_loss(z, signs, w) for w in (_newton(z, signs), *course)]
    found = np.array(values[1:]) - values[0]
    bound = found[0] * (1 - RIDGE / curvature) ** np.arange(steps)
    with page.axes("logistic", "Logistic regression, step 1/L: loss above its minimum") \
                   as axes:  # fmt: skip
        axes.semilogy(found, label="measured")
        axes.semilogy(bound, ":", color="black", label="bound")
        axes.set(xlabel="step", ylabel="loss - minimum")
        axes.legend()
    page.check("with step 1/L the logistic loss never rises", bool((np.diff(found) <= 0).all()),
               f"from {found[0]:.3g} to {found[-1]:.3g} above the minimum")  # fmt: skip
    page.check("and stays below the bound", bool((found <= bound * (1 + 1e-9)).all()),
               f"{found[-1] / bound[-1]:.3g} of it at the end")  # fmt: skip


def _logistic_loss(z: Any, signs: Any, w: Any) -> float:
    """The mean of log(1 + exp(-sign·score)) plus the ridge, in double precision."""
    return float(np.logaddexp(0, -signs * (z @ w)).mean() + RIDGE / 2 * (w**2).sum())


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
    """Stochastic descent on least squares, one sample per step, step sizes 1/√t: last iterate and
    average."""
    z = x - x.mean(0)
    left, _, _ = np.linalg.svd(z, full_matrices=False)
    z = with_one(left[:, :COMPONENTS] * np.sqrt(len(x))).astype(np.float32)
    best = np.linalg.lstsq(z, signs, rcond=None)[0]
    course = []
    for step, *values in _random_steps(page, z, signs.astype(np.float32)):
        apart = [value.numpy() - best for value in values]
        course.append((step, *((a**2).sum((1, 2)).mean() / 2 for a in apart)))
    # Half the trace of H⁻¹Σ over t, with H the Hessian and Σ the gradients' covariance.
    gradients = z * (z @ best - signs)
    spread = np.trace(np.linalg.solve(z.T @ z, gradients.T @ gradients))
    _draw_rates(page, np.array(course), spread / 2 / np.array(course)[:, 0])


def _random_steps(page: Page, z: Any, t: Any) -> list[tuple[int, Tensor, Tensor]]:
    """(step, weights, their running average) at 60 steps; weights (RUNS, width, 1), one set per
    independent run."""
    steps = page.pick(20_000, 40)
    inputs, targets = page.tensor(z), page.tensor(t)
    chosen = np.random.default_rng(page.seed).integers(0, len(z), (steps, RUNS))
    order = page.tensor(chosen)
    w = nn.Parameter(page.tensor(np.zeros((RUNS, z.shape[1], 1), np.float32)))
    average = Average(w)
    optimizer = optim.SGD([w], lr=1 / (2 * z.shape[1]))
    schedule = LambdaLR(optimizer, lambda t: 1 / np.sqrt(t + 1))
    marks = set(np.unique(np.geomspace(1, steps, 60).astype(int)).tolist())
    course = []
    for step in range(1, steps + 1):
        rows = order[step - 1]
        optimizer.zero_grad()
        predictions = inputs[rows].unsqueeze(1) @ w
        loss = (predictions - targets[rows].unsqueeze(1)).square().sum() / 2
        loss.backward()
        optimizer.step()
        schedule.step()
        average.update()
        if step in marks:
            course.append((step, w.detach().clone(), average.value.clone()))
    return course


def _draw_rates(page: Page, course: Any, least: Any) -> None:
    """least: for each step, the smallest loss above the minimum that any estimator can reach."""
    times, last, mean = course.T
    late = times > times[-1] / 50
    slope = float(np.polyfit(np.log(times[late]), np.log(last[late]), 1)[0])
    with page.axes("stochastic", f"Stochastic descent with step sizes 1/√t, mean of {RUNS} runs: "
                   "loss above the minimum") as axes:  # fmt: skip
        axes.loglog(times, last, label="last iterate")
        axes.loglog(times, mean, label="average of the iterates")
        axes.loglog(times, least, ":", color="black", label="lower bound, 1/t")
        reach = np.array([times[late][0], times[-1]])
        axes.loglog(reach, last[late][0] * (reach / reach[0]) ** -0.5, "--", color="#6b7280",
                    label="1/√t")  # fmt: skip
        axes.set(xlabel="samples seen", ylabel="loss - minimum")
        axes.legend()
    page.check("the last iterate falls as 1/√t", abs(slope + 0.5) < 0.12, f"t^{slope:.2f}")
    ratio = float(mean[-1] / least[-1])
    page.check("the average ends within 40 % of the lower bound for any estimator (Polyak and "
               "Juditsky 1992)", 0.6 < ratio < 1.4, f"{ratio:.2f} of it")  # fmt: skip
    page.check("the average ends with the lower loss", mean[-1] < last[-1],
               f"{mean[-1]:.2e} against {last[-1]:.2e}")  # fmt: skip
