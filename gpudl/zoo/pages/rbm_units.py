"""Restricted Boltzmann machines with label units on MNIST, and with Gaussian units on USPS."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpudl
from gpudl import nn, optim
from gpudl.autograd.tape import no_grad
from gpudl.models.nets import partition
from gpudl.models.nets.rbm import ClassificationRBM, fit, in_batches, parameter_groups
from gpudl.train.build import WarmCosine
from gpudl.zoo.page import Page, page

HIDDEN = 500


@page("Restricted Boltzmann machine: label units, Gaussian units", minutes=3)
def rbm_units(page: Page) -> None:
    """The machine of the page `rbm` with other visible units. With ten one-hot label units it
    models images and labels jointly; as there are only ten labels, it gives p(label | image)
    exactly (Larochelle and Bengio, ICML 2008). Gaussian units take real values (Welling, Rosen-Zvi
    and Hinton, NIPS 2004)."""
    x_train, y_train, x_test, y_test = page.mnist()
    _classes(page, (x_train, y_train), (x_test, y_test))
    _grey(page)


def _on(page: Page, array: Any) -> Any:
    return gpudl.tensor(np.asarray(array, np.float32), device=page.device)


def _classes(page: Page, train: Any, test: Any) -> None:
    """Generative training of the joint machine, then discriminative fine-tuning."""
    machine = ClassificationRBM(784, 10, page.pick(HIDDEN, 30), device=page.device)
    x, y = (gpudl.tensor(part, device=page.device) for part in train)
    joint = machine.join(x, y)
    optimizer = optim.SGD(parameter_groups(machine), lr=0.05, momentum=0.5)
    fit(machine, joint, optimizer, page.pick(4, 1))
    images, labels = test
    with no_grad():
        logits = in_batches(machine, gpudl.tensor(images, device=page.device), 250)
    generative = (logits.argmax(1).cpu().numpy() != labels).mean()
    history = page.fit(
        machine, train, test, epochs=8, batch_size=100,
        optimizer=optim.Adam(machine.parameters(), lr=3e-3), schedule=WarmCosine,
    )  # fmt: skip
    error = 1 - history[-1].test_accuracy
    page.table(
        ("training with label units", "test error in %", "in the paper"),
        [
            ("generative, CD-1 of images and labels", 100 * generative, "3.39"),
            (
                "then discriminative, exact gradient of the log-probability of the label",
                100 * error,
                "1.81",
            ),
        ],
        f"{HIDDEN} hidden units; the paper (Larochelle and Bengio 2008, table 1) chose their "
        "number and the learning rates on validation data",
    )
    source = "Larochelle and Bengio, ICML 2008, table 1"
    what = "generative: MNIST test error in % (ours: 4 epochs)"
    page.beside(what, 3.39, 100 * generative, source)
    what = "discriminative: MNIST test error in % (ours: started from the generative one, 8 epochs)"
    page.beside(what, 1.81, 100 * error, source)
    page.check("classification error below 2.5 %", error < 0.025, f"{error:.2%}")


# ---------------------------------------------------------------------- Gaussian units


def _grey(page: Page) -> None:
    """Gaussian visible units on grey digits, with the mean subtracted."""
    x, _, y, _ = page.usps()
    mean, std = x.mean(0), x.std()
    train, test = (_on(page, ((part - mean) / std).reshape(len(part), -1)) for part in (x, y))
    machine = nn.RBM(256, page.pick(200, 20), visible="gaussian", device=page.device)
    with no_grad():
        machine.hidden_bias.fill_(-1.0)
    before = _density(machine, test, page.pick(50, 5))
    optimizer = optim.SGD(parameter_groups(machine, 1e-4), lr=0.01, momentum=0.5)
    last = fit(machine, train, optimizer, page.pick(20, 1), chains=100)
    after = _density(machine, test, page.pick(1500, 5))
    v = machine.gibbs(last[:40], page.pick(50, 1)) if last is not None else test
    drawn = machine.sample_visible(machine.sample_hidden(v)[1])[0].cpu().numpy()
    weights = machine.weight.detach().cpu().numpy()[:40]
    rows = [weights.reshape(-1, 16, 16), drawn.reshape(-1, 16, 16)]
    tiles = np.concatenate([part / np.abs(part).max() for part in rows])
    caption = "Gaussian visible units on USPS: weights of hidden units, and sampled means"
    page.image("gaussian", page.grid(tiles, 20, scale=2), caption)
    page.check(
        "Gaussian units: training raises the log-likelihood of grey test digits",
        after > before,
        f"from {before:.1f} to {after:.1f} nats",
    )


def _density(machine: nn.RBM, data: Any, betas: int) -> float:
    """The mean log density of data."""
    log_z = partition.annealed_log_partition(machine, betas, 50).log_z
    return float(partition.log_likelihood(machine, data, log_z).mean().item())
