"""Multi-layer perceptrons of several depths and activations, on MNIST."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpudl import optim
from gpudl.autograd.tensor import tensor
from gpudl.models.nets.mlp import ACTIVATIONS, MLP
from gpudl.nn.functional import cross_entropy
from gpudl.train.build import WarmCosine
from gpudl.zoo.page import Page, page

HIDDEN, DROPOUT = (512, 256), 0.2
SMALL, EPOCHS = (128, 64), 4  # for the comparisons
DEPTHS, WIDTH = (0, 1, 2, 4, 8), 64
GOOD, LEARNS = 0.98, 0.85
PAPERS_ERROR = 3.05
COLUMNS = 7  # in the figure of activations
SHAPE = (1, 28, 28)

Split = tuple[tuple[Any, Any], tuple[Any, Any]]


@page("Multi-layer perceptrons", minutes=2)
def mlp(page: Page) -> None:
    """Fully connected layers with a nonlinearity between them, trained by backpropagation:
    Rumelhart, Hinton and Williams, Learning representations by back-propagating errors, Nature 323
    (1986). One network is trained on all of MNIST; every activation and several depths are then
    compared on a part of it."""
    x, y, x_test, y_test = page.mnist()
    _best(page, ((_scale(x), y), (_scale(x_test), y_test)))
    x, y, x_test, y_test = x[:10_000], y[:10_000], x_test[:5_000], y_test[:5_000]
    part = (_scale(x), y), (_scale(x_test), y_test)
    page.text(
        f"The rest compares small networks on {len(x):,} training and {len(x_test):,} test digits, "
        f"each after {EPOCHS} epochs of Adam with cosine decay from 0.001. The standard error of "
        f"an accuracy of 90 % is {100 * (0.9 * 0.1 / len(x_test)) ** 0.5:.1f} points."
    )
    _activations(page, part)
    _depths(page, part)


def _scale(images: Any) -> Any:
    return (images - np.float32(0.1307)) / np.float32(0.3081)


def _best(page: Page, split: Split) -> None:
    net = MLP(SHAPE, HIDDEN, 10, DROPOUT).to(page.device)
    rows = page.fit(
        net, *split, epochs=10, batch_size=128, schedule=WarmCosine,
        optimizer=optim.Adam(net.parameters(), lr=1e-3),
    )  # fmt: skip
    found = rows[-1].test_accuracy
    parameters = sum(p.numel() for p in net.parameters())
    page.table(
        ("hidden units", "parameters", "dropout", "epochs", "MNIST test accuracy"),
        [(" + ".join(map(str, HIDDEN)), parameters, str(DROPOUT), len(rows), f"{found:.2%}")],
    )
    page.beside("784-300-100-10, MNIST test error in %; ours: 784-512-256-10 with dropout",
                PAPERS_ERROR, 100 * (1 - found), "LeCun et al. 1998, section III.C")  # fmt: skip
    page.check(f"MNIST accuracy {GOOD:.0%} or more", found >= GOOD, f"{found:.2%}")


def _accuracy(page: Page, split: Split, hidden: Sequence[int], activation: str) -> float:
    net = MLP(SHAPE, hidden, 10, activation=activation).to(page.device)
    optimizer = optim.Adam(net.parameters(), lr=1e-3)
    rows = page.fit(net, *split, epochs=EPOCHS, optimizer=optimizer, schedule=WarmCosine)
    return float(rows[-1].test_accuracy)


def _activations(page: Page, split: Split) -> None:
    rows = -(-len(ACTIVATIONS) // COLUMNS)
    title = "The activations (blue) and their derivatives (orange)"
    with page.axes("activations", title, rows, COLUMNS, (11, 1.5 * rows)) as axes:
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, (name, kind) in zip(axes.flat, ACTIVATIONS.items(), strict=False):
            _draw(page, axis, name, kind())
    found = {name: _accuracy(page, split, SMALL, name) for name in ACTIVATIONS}
    ranked = sorted(found.items(), key=lambda item: -item[1])
    half = -(-len(ranked) // 2)
    pairs = zip(ranked[:half], [*ranked[half:], ("", 0.0)], strict=False)
    page.table(
        ("activation", "accuracy", "activation", "accuracy"),
        [(a, f"{p:.2%}", b, f"{q:.2%}" if b else "") for (a, p), (b, q) in pairs],
        caption=f"Test accuracy with {SMALL[0]} and {SMALL[1]} hidden units, best first",
    )
    worst, least = ranked[-1]
    page.check(f"every activation reaches {LEARNS:.0%}", least > LEARNS,
               f"{worst} is the lowest, with {least:.2%}")  # fmt: skip


def _draw(page: Page, axis: Any, name: str, activation: Any) -> None:
    activation.to(page.device).eval()
    points = np.linspace(-3, 3, 301, dtype=np.float32)
    x = tensor(points, device=page.device, requires_grad=True)
    y = activation(x)
    y.sum().backward()
    axis.plot(points, y.detach().numpy())
    slope = x.grad.numpy() if x.grad is not None else np.zeros(301)
    axis.plot(points, slope, linewidth=0.8)
    axis.set_axis_on()
    axis.set_title(name, fontsize=8)
    axis.set(ylim=(-2.2, 3.2), xticks=(-3, 0, 3), yticks=(-2, 0, 2))
    axis.tick_params(labelsize=6)


def _depths(page: Page, split: Split) -> None:
    kinds = ("relu", "tanh", "sigmoid")
    rows: list[tuple[Any, ...]] = []
    for depth in DEPTHS:
        found = [_accuracy(page, split, (WIDTH,) * depth, kind) for kind in kinds]
        rows.append((depth, *found))
    page.table(
        ("hidden layers", *kinds),
        [(depth, *(f"{value:.2%}" for value in found)) for depth, *found in rows],
        caption=f"Test accuracy by depth, for layers of {WIDTH} units. Without hidden layers the "
        "activation is not used; only the initial weights differ",
    )
    page.check("one hidden layer beats none", rows[1][1] > rows[0][1],
               f"{rows[1][1]:.2%} against {rows[0][1]:.2%}")  # fmt: skip
    page.check(
        f"{DEPTHS[-1]} sigmoid layers are less accurate than as many ReLU layers",
        rows[-1][3] < rows[-1][1] - 0.05,
        f"{rows[-1][3]:.2%} against {rows[-1][1]:.2%}",
    )
    shares = [_first_gradient(page, split, kind) for kind in kinds]
    page.table(
        ("activation", "gradient of the first layer"),
        list(zip(kinds, shares, strict=True)),
        caption="Norm of the first layer's gradient relative to the last layer's, with "
        f"{DEPTHS[-1]} hidden layers, before training",
    )
    page.check("the gradient vanishes through sigmoids, to less than 0.001", shares[2] < 1e-3,
               f"{shares[2]:.1e}, against {shares[0]:.1e} through ReLU")  # fmt: skip


def _first_gradient(page: Page, split: Split, activation: str) -> float:
    net = MLP(SHAPE, (WIDTH,) * DEPTHS[-1], 10, activation=activation).to(page.device)
    images, labels = (tensor(part[:256], device=page.device) for part in split[0])
    cross_entropy(net(images), labels).backward()
    weights = [p for name, p in net.named_parameters() if name.endswith("weight")]
    first, last = (
        float(p.grad.norm().item()) for p in (weights[0], weights[-1]) if p.grad is not None
    )
    return first / last
