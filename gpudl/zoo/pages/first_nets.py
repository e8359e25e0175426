"""The first networks: three digits through two hidden units; unsupervised neurons."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import no_grad, optim, stack
from gpudl.autograd.tensor import Tensor
from gpudl.models.nets.hebbian import LinearNeurons
from gpudl.models.nets.small_nets import first_net
from gpudl.zoo.page import Page, page

DIGITS = (0, 1, 4)
COMPONENTS = 6
BATCH = 20
TOO_LONG, CHECKED = 1000, 20  # Hebb's neuron stops at this length, checked every 20 updates


@page("First nets", minutes=1)
def first_nets(page: Page) -> None:
    """Networks small enough to show every weight. A 64-2-3 net classifies three digits of 8x8
    pixels. The unsupervised neurons follow Hebb's rule (The Organization of Behavior, 1949), Oja's
    (A simplified neuron model as a principal component analyzer, 1982) and Sanger's (Optimal
    unsupervised learning in a single-layer linear feedforward neural network, 1989)."""
    x, y, x_test, y_test = page.usps()
    x, x_test = _shrink(x), _shrink(x_test)
    _three_digits(page, x, y, x_test, y_test)
    _components(page, x)


def _shrink(images: Any) -> Any:
    """(N, 1, 16, 16) in [0, 1] -> (N, 1, 8, 8) in [-1, 1]: means of 2x2 pixels."""
    return 2 * images.reshape(-1, 1, 8, 2, 8, 2).mean((3, 5)) - 1


def _chosen(images: Any, labels: Any) -> tuple[Any, Any]:
    """The images of DIGITS, labelled 0, 1, 2."""
    among = np.isin(labels, DIGITS)
    return images[among], np.searchsorted(DIGITS, labels[among])


def _three_digits(page: Page, x: Any, y: Any, x_test: Any, y_test: Any) -> None:
    train, test = _chosen(x, y), _chosen(x_test, y_test)
    net = first_net(len(DIGITS)).to(page.device)
    optimizer = optim.Adam(net.parameters(), lr=0.01)
    rows = page.fit(net, train, test, epochs=20, batch_size=32, optimizer=optimizer)
    found, names = rows[-1].test_accuracy, ", ".join(map(str, DIGITS))
    page.text(
        f"The digits {names} of USPS, shrunk to 8x8: {len(train[0]):,} for training and "
        f"{len(test[0]):,} for testing. Test accuracy {found:.2%} with "
        f"{sum(p.numel() for p in net.parameters())} weights."
    )
    page.check("two hidden units classify 97 % or more", found >= 0.97, f"{found:.2%}")
    samples = np.concatenate([test[0][test[1] == kind][:4, 0] for kind in range(3)])
    page.image("digits", page.grid(samples, columns=12, scale=6, vmin=-1, vmax=1),
               "Four digits of each class, as the network sees them")  # fmt: skip
    hidden, output = net.layers[1].weight.detach().numpy(), net.layers[3].weight.detach().numpy()
    limit = float(np.abs(hidden).max())
    page.image(
        "weights",
        page.grid(hidden.reshape(2, 8, 8), columns=2, scale=16, vmin=-limit, vmax=limit),
        "The weights of the two hidden units: white where ink excites, black where it inhibits",
    )
    page.table(
        ("output", "from the first", "from the second"),
        [(str(digit), *map(float, row)) for digit, row in zip(DIGITS, output, strict=True)],
        caption="Weights of the three outputs",
    )
    _plane(page, net, test)


def _plane(page: Page, net: Any, test: tuple[Any, Any]) -> None:
    """The test digits in the plane of the hidden units, and the predicted class at each point."""
    with no_grad():
        seen = net.layers[1](net.layers[0](page.tensor(test[0])))
        codes = net.layers[2](seen).numpy()
        side = np.linspace(-1.1, 1.1, 221, dtype=np.float32)
        places = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
        answers = net.layers[3](page.tensor(places)).numpy().argmax(1)
    with page.axes("plane", "The test digits in the plane of the two hidden units", size=(4.5, 4)) \
            as axes:  # fmt: skip
        axes.contour(side, side, answers.reshape(221, 221), levels=(0.5, 1.5), colors="#6b7280")
        for kind, digit in enumerate(DIGITS):
            axes.plot(*codes[test[1] == kind].T, ".", markersize=3, label=str(digit))
        axes.set(xlabel="first hidden unit", ylabel="second hidden unit")
        axes.legend(loc="center right", bbox_to_anchor=(1.25, 0.5))


def _components(page: Page, x: Any) -> None:
    points = x.reshape(len(x), -1)
    points = points - points.mean(0)
    components = np.linalg.svd(points, full_matrices=False)[2]
    neurons = {
        "hebb": LinearNeurons(64), "oja": LinearNeurons(64), "sanger": LinearNeurons(64, COMPONENTS)
    }  # fmt: skip
    neurons["hebb"].weight.copy_(neurons["oja"].weight)
    course = {}
    for rule, cells in neurons.items():
        first = _learn(page, cells.to(page.device), rule, page.tensor(points))
        lengths = np.linalg.norm(first, axis=1)
        course[rule] = np.stack([lengths, np.abs(first @ components[0]) / lengths])
    _course(page, course)
    _compare(page, neurons["oja"].weight.numpy()[0], neurons["sanger"].weight.numpy(), components)
    longest = float(course["hebb"][0, -1])
    page.check("Hebb's rule alone grows without bound", longest > TOO_LONG,
               f"length {longest:.3g} after {course['hebb'].shape[1]} updates")  # fmt: skip
    length = float(course["oja"][0, -1])
    page.check("Oja's rule ends at length 1", abs(length - 1) < 0.02, f"{length:.4f}")


def _learn(page: Page, cells: LinearNeurons, rule: str, points: Tensor) -> Any:
    """The first neuron's weights after each update, (updates, inputs); Hebb's rule stops early."""
    steps = page.pick(4000, 20)
    chosen = np.random.default_rng(page.seed).integers(0, len(points), (steps, BATCH))
    order = page.tensor(chosen)
    course = []
    for step in range(steps):
        if rule == "hebb" and step % CHECKED == 0 and cells.weight.norm().item() > TOO_LONG:
            break
        cells.learn(points[order[step]], 0.01 / (1 + step / 500), rule)
        course.append(cells.weight[0].clone())
    return stack(course).numpy()


def _course(page: Page, course: dict[str, Any]) -> None:
    caption = "Hebb's and Oja's neurons from the same start: length, and cosine with component 1"
    with page.axes("course", caption, 1, 2) as axes:
        for rule in ("hebb", "oja"):
            lengths, cosines = course[rule]
            axes[0].plot(range(1, len(lengths) + 1), lengths, label=rule.capitalize())
            axes[1].plot(range(1, len(cosines) + 1), cosines, label=rule.capitalize())
        axes[0].set(xlabel="updates", ylabel="length of w", xscale="log", yscale="log")
        axes[1].set(xlabel="updates", ylabel="cosine with component 1", xscale="log")
        axes[0].legend()


def _compare(page: Page, oja: Any, sanger: Any, components: Any) -> None:
    signs = np.sign((sanger * components[:COMPONENTS]).sum(1, keepdims=True))
    both = np.concatenate([components[:COMPONENTS], signs * sanger]).reshape(-1, 8, 8)
    page.image("components", page.grid(both, columns=COMPONENTS, scale=8),
               "Top: principal components; bottom: the weights found by Sanger's rule")  # fmt: skip
    lengths = np.linalg.norm(sanger, axis=1)
    cosines = np.abs((sanger * components[:COMPONENTS]).sum(1)) / lengths
    rows = [(k + 1, float(lengths[k]), float(cosines[k])) for k in range(COMPONENTS)]
    page.table(
        ("neuron", "length", "cosine with its principal component"),
        rows,
        caption="Sanger's rule after the same number of updates",
    )
    alone = abs(float(oja @ components[0])) / float(np.linalg.norm(oja))
    page.check("Oja's neuron finds the first component", alone > 0.999, f"cosine {alone:.5f}")
    least = float(cosines[:3].min())
    page.check("Sanger's neurons find the first three, cosines above 0.98", least > 0.98,
               f"at least {least:.4f}")  # fmt: skip
