"""Ensembles: the average of several nets compared with its members."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import models
from gpudl.data.shuffle import permutation
from gpudl.models.nets.ensemble import Ensemble
from gpudl.optim import Adam
from gpudl.train.transfer import features
from gpudl.zoo.page import Array, Page, page

MEMBERS, EPOCHS = 6, 5


@page("Ensembles", minutes=2)
def ensembles(page: Page) -> None:
    """Nets that start from different weights and see the data in a different order make different
    mistakes. A majority vote (Hansen and Salamon, IEEE PAMI 1990) or the mean of their
    probabilities makes fewer mistakes than any single net. By Jensen's inequality the loss of the
    mean is at most the mean of the losses; this page measures whether the error falls too, on
    Fashion-MNIST."""
    x, y, x_test, y_test = page.fashion_mnist(train=10_000)
    members = []
    for number in range(page.pick(MEMBERS, 2)):
        order = permutation(len(x), page.seed, number)
        net = models.create("lenet5").to(page.device)  # each from the next random numbers
        page.fit(
            net, (x[order], y[order]), epochs=EPOCHS, optimizer=Adam(net.parameters(), lr=2e-3)
        )
        members.append(net)
    logits = [features(net, x_test) for net in members]
    growing = [features(Ensemble(members[:n]), x_test) for n in range(1, len(members) + 1)]
    _compare(page, logits, growing[-1], y_test)
    _draw(page, logits, growing, y_test)
    page.text(
        "Why it works: when one member is wrong, another gives the same wrong answer in "
        f"{_share_of_common_mistakes(logits, y_test):.0%} of the cases; in the rest the average "
        "can be right."
    )


def _compare(page: Page, logits: list[Array], mean: Array, labels: Array) -> None:
    accuracies = [_accuracy(one, labels) for one in logits]
    losses = [_loss(one, labels) for one in logits]
    votes = np.eye(10)[np.argmax(logits, axis=2)].sum(axis=0)
    rows: list[Any] = [
        ("worst member", min(accuracies), max(losses)),
        ("mean of the members", np.mean(accuracies), np.mean(losses)),
        ("best member", max(accuracies), min(losses)),
        ("majority vote", _accuracy(votes, labels), "-"),
        ("mean probabilities", _accuracy(mean, labels), _loss(mean, labels)),
    ]
    page.table(
        ("net", "test accuracy", "test loss"),
        rows,
        caption=f"{len(logits)} LeNet-5 nets trained on the same Fashion-MNIST images for {EPOCHS} "
        "epochs each; loss in nats.",
    )
    together, best = _accuracy(mean, labels), max(accuracies)
    page.check(
        "the ensemble is more accurate than its best member",
        together > best,
        f"{together:.2%} against {best:.2%}",
    )
    page.check(
        "its loss is below that of the best member",
        _loss(mean, labels) < min(losses),
        f"{_loss(mean, labels):.4f} against {min(losses):.4f}",
    )


def _draw(page: Page, logits: list[Array], growing: list[Array], labels: Array) -> None:
    counts = range(1, len(growing) + 1)
    with page.axes("size", "Test accuracy by number of members.", size=(5, 3.2)) as axes:
        axes.plot(counts, [_accuracy(one, labels) for one in logits], "o", label="each member")
        axes.plot(counts, [_accuracy(one, labels) for one in growing], label="ensemble")
        axes.set_xlabel("member; number of members")
        axes.set_ylabel("test accuracy")
        axes.legend()


def _share_of_common_mistakes(logits: list[Array], labels: Array) -> float:
    answers = np.argmax(logits, axis=2)
    shares = [
        (a == b)[a != labels].mean()
        for i, a in enumerate(answers)
        for j, b in enumerate(answers)
        if i != j
    ]
    return float(np.mean(shares))


def _accuracy(scores: Array, labels: Array) -> float:
    return float((scores.argmax(axis=1) == labels).mean())


def _loss(logits: Array, labels: Array) -> float:
    top = logits.max(axis=1, keepdims=True)
    logs = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    return float(-logs[np.arange(len(labels)), labels].mean())
