"""Lessons about training, shown on digits: overfitting and regularisation, early stopping,
dropout, saddle points, batch normalisation, initialisation, input scaling."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl import optim
from gpudl.data.transforms import RandomCrop
from gpudl.zoo.lesson import (
    BACKGROUND,
    ERROR,
    LOSS,
    Split,
    learn,
    percent,
    perceptron,
    standardised,
)
from gpudl.zoo.page import Array, Page, page
from gpudl.zoo.pages import lessons_of_descent as descent

FEW, TEST = 500, 2000  # images for training and for testing
WIDTHS = (784, 256, 128, 10)
PASSES = 50
MOVED = RandomCrop(28, padding=2, fill=BACKGROUND)
HELD: dict[str, tuple[float, float, Any]] = {  # weight decay, dropout, augmentation
    "none": (0.0, 0.0, None),
    "weight decay": (1.0, 0.0, None),
    "dropout": (0.0, 0.5, None),
    "shifted digits": (0.0, 0.0, MOVED),
    "all three": (1.0, 0.2, MOVED),
}
WRONG, PATIENCE = 0.3, 5  # share of random labels, epochs without progress
DROPOUTS = ((0.0, 0.0), (0.0, 0.5), (0.2, 0.5), (0.2, 0.8))  # pixels, hidden units
DROPOUT_PASSES = 30


@page("Lessons about training", minutes=1)
def lessons(page: Page) -> None:
    """What decides whether a net learns, and whether it learns the right thing: one experiment for
    each lesson, on at most 2,000 of MNIST's digits. Unless stated otherwise, the net is a
    perceptron with two hidden layers; losses are cross-entropies in nats."""
    x, y, x_test, y_test = page.mnist(2000, TEST)
    part = standardised(x), y
    test = standardised(x_test), y_test
    few = part[0][:FEW], part[1][:FEW]
    rest = test if page.quick else (part[0][FEW : 2 * FEW], part[1][FEW : 2 * FEW])
    overfit(page, few, test)
    early_stopping(page, few, rest, test)
    dropout(page, part, test)
    descent.saddles(page, x, y)
    descent.batch_norm(page, part, test)
    descent.initialisation(page, part, test)
    descent.inputs(page, (x, y), (x_test, y_test))


def overfit(page: Page, few: Split, test: Split) -> None:
    page.text(
        f"## Overfit, then regularise\n\nA net that cannot memorise {len(few[0])} digits has a "
        "bug; one that can has enough capacity and needs regularisation. Here it is trained "
        "without any, until it makes no training errors, then with weight decay, with dropout, "
        "with digits shifted by up to 2 pixels each time they are used, and with all three."
    )
    curves: dict[str, dict[str, Array]] = {}
    for name, (decay, share, change) in HELD.items():
        net = perceptron(WIDTHS, share).to(page.device)
        optimizer = optim.AdamW(net.parameters(), lr=1e-3, weight_decay=decay)
        judged = {"train": few, "test": test}
        curves[name] = learn(page, net, few, judged, PASSES, optimizer, change)
    rows = [
        (name, percent(c["train"][-1, ERROR]), float(c["train"][-1, LOSS]),
         percent(c["test"][-1, ERROR]), float(c["test"][-1, LOSS]))
        for name, c in curves.items()
    ]  # fmt: skip
    page.table(("regularisation", "training errors", "training loss", "test errors", "test loss"),
               rows, caption=f"After {PASSES} epochs on {len(few[0])} digits")  # fmt: skip
    caption = "Training loss (dashed) and test loss, without regularisation and with all three"
    with page.axes("overfit", caption) as axes:
        for name, colour in (("none", "C1"), ("all three", "C0")):
            axes.plot(curves[name]["train"][:, LOSS], "--", color=colour)
            axes.plot(curves[name]["test"][:, LOSS], color=colour, label=name)
        axes.set(xlabel="epochs", yscale="log", ylabel="loss, nats")
        axes.legend()
    plain, best = curves["none"], curves["all three"]
    page.check("without regularisation the net makes no training errors",
               plain["train"][-1, ERROR] == 0, percent(plain["train"][-1, ERROR]))  # fmt: skip
    page.check("regularised, it makes fewer test errors",
               best["test"][-1, ERROR] < plain["test"][-1, ERROR] - 0.02,
               f"{best['test'][-1, ERROR]:.1%} against {plain['test'][-1, ERROR]:.1%}")  # fmt: skip


def early_stopping(page: Page, few: Split, rest: Split, test: Split) -> None:
    rng = np.random.default_rng(page.seed)
    wrong = np.where(rng.random(len(few[1])) < WRONG, rng.integers(0, 10, len(few[1])), few[1])
    page.text(
        f"## Early stopping\n\n{WRONG:.0%} of the labels are random. The net first learns what the "
        f"digits have in common, then memorises the wrong labels one by one. {len(rest[0])} other "
        f"digits tell when to stop: training ends when their loss has not fallen for {PATIENCE} "
        "epochs, and the weights of the best epoch are kept. Prechelt 1998, Early stopping: but "
        "when?"
    )
    net = perceptron(WIDTHS).to(page.device)
    judged = {"training": (few[0], wrong), "validation": rest, "test": test}
    optimizer = optim.Adam(net.parameters(), lr=1e-3)
    curves = learn(page, net, judged["training"], judged, PASSES, optimizer)
    best, end = stopping_point(curves["validation"][:, LOSS]), len(curves["test"]) - 1
    rows = [
        (kind, at, *(percent(curves[name][at, ERROR]) for name in judged))
        for kind, at in (("stopped early", best), ("trained to the end", end))
    ]
    page.table(("", "epoch", "training errors", "validation errors", "test errors"), rows)
    with page.axes("stopping", "Loss on each set; the line marks the best epoch") as axes:
        for name, values in curves.items():
            axes.plot(values[:, LOSS], label=name)
        axes.axvline(best, color="black", linewidth=0.8)
        axes.set(xlabel="epochs", ylabel="loss, nats")
        axes.legend()
    at_best, at_end = curves["test"][best, ERROR], curves["test"][end, ERROR]
    page.check("the net with the best validation loss makes fewer test errors than the final one",
               at_best < at_end - 0.03, f"{at_best:.1%} against {at_end:.1%}")  # fmt: skip


def stopping_point(losses: Array) -> int:
    """The best epoch before PATIENCE epochs without improvement."""
    best = 0
    for at, loss in enumerate(losses):
        if loss < losses[best]:
            best = at
        elif at - best >= PATIENCE:
            break
    return best


def dropout(page: Page, part: Split, test: Split) -> None:
    page.text(
        f"## Dropout\n\nEach step drops hidden units and pixels at random, so that no unit can "
        f"rely on another. The net learns the training set, here {len(part[0]):,} digits, more "
        "slowly, and is less confident when it is wrong. Srivastava et al. 2014."
    )
    curves = {}
    for pixels, units in DROPOUTS:
        net = perceptron(WIDTHS, units, pixels).to(page.device)
        optimizer = optim.Adam(net.parameters(), lr=1e-3)
        judged = {"train": part, "test": test}
        curves[pixels, units] = learn(page, net, part, judged, DROPOUT_PASSES, optimizer)
    page.table(
        ("pixels dropped", "units dropped", "training loss", "training errors", "test loss",
         "test errors"),
        [(f"{pixels:.0%}", f"{units:.0%}", float(c["train"][-1, LOSS]),
          percent(c["train"][-1, ERROR]), float(c["test"][-1, LOSS]), percent(c["test"][-1, ERROR]))
         for (pixels, units), c in curves.items()],
    )  # fmt: skip
    with page.axes("dropout", "Test loss by dropout rates") as axes:
        for (pixels, units), c in curves.items():
            label = f"{pixels:.0%} of the pixels, {units:.0%} of the units"
            axes.plot(c["test"][:, LOSS], label=label)
        axes.set(xlabel="epochs", ylabel="test loss, nats", ylim=(0.2, 0.6))
        axes.legend()
    none, some = curves[DROPOUTS[0]]["test"][-1], curves[DROPOUTS[2]]["test"][-1]
    pixels, units = DROPOUTS[2]
    page.check(f"dropping {pixels:.0%} of the pixels and {units:.0%} of the units lowers the test "
               "loss by a fifth", some[LOSS] < 0.8 * none[LOSS],
               f"{some[LOSS]:.3f} against {none[LOSS]:.3f}")  # fmt: skip
    page.check("and the test error", some[ERROR] < none[ERROR],
               f"{some[ERROR]:.1%} against {none[ERROR]:.1%}")  # fmt: skip
