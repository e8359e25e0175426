"""A deep Boltzmann machine on MNIST: samples, mean-field reconstructions, a bound on the
likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpudl
from gpudl import optim
from gpudl.models.nets import partition
from gpudl.models.nets.dbm import DBM, pretrain
from gpudl.models.nets.rbm import falling
from gpudl.zoo.page import Page, page

HIDDEN = (500, 500)
FIELD = 5  # mean-field steps in training
JUDGED = 1000  # test digits for the bound


@page("Deep Boltzmann machine", minutes=5)
def dbm(page: Page) -> None:
    """Two layers of hidden units above the visible ones, undirected throughout (Salakhutdinov and
    Hinton, AISTATS 2009): the state of a unit in the first layer depends both on the image below
    and on the layer above. The data term of the gradient comes from mean field, the model term
    from persistent Markov chains. MNIST's digits are rounded to 0 or 1."""
    x_train, _, x_test, _ = page.mnist()
    train, test = (_bits(page, x) for x in (x_train, x_test))
    net = DBM(784, page.pick(HIDDEN, (30, 30)), device=page.device)
    greedy, joint = page.pick((2, 2), (1, 1)), page.pick(5, 1)
    pretrain(net, train, _sgd, greedy)
    first = _judge(page, net, train, test)
    _train(net, train, joint)
    last = _judge(page, net, train, test)
    rows = [("greedy", greedy[0] + greedy[1], *first), ("joint, then", joint, *last)]
    head = ("training", "epochs", "log Z", "bound, nats", "reconstruction error")
    caption = (
        f"784-{net.hidden[0]}-{net.hidden[1]}; bound on the mean log-likelihood of {JUDGED:,} test "
        "digits, with log Z from annealed importance sampling; mean squared error per pixel of "
        "mean-field reconstructions"
    )
    page.table(head, rows, caption)
    page.text(
        "The paper's net of 500 and 1000 units, trained for much longer on digits sampled from the "
        "grey values, reaches a bound of -84.62 nats. Our digits are rounded, so the numbers are "
        "only roughly comparable."
    )
    what = "bound on the mean test log-likelihood in nats"
    page.beside(f"{what}, 500 and 1000 units (ours: 500 and 500, {joint} epochs, rounded digits)",
                -84.62, last[1], "Salakhutdinov and Hinton, AISTATS 2009, section 4.1")  # fmt: skip
    _draw(page, net, test)
    measured = f"{first[1]:.1f} to {last[1]:.1f} nats"
    page.check("joint training raises the bound", last[1] > first[1], measured)
    page.check("bound above -100 nats", last[1] > -100, f"{last[1]:.1f} nats")
    _field(page, net, test)


def _bits(page: Page, images: Any) -> Any:
    bits = images.reshape(len(images), -1) > 0.5
    return gpudl.tensor(bits.astype(np.float32), device=page.device)


def _sgd(groups: Any) -> Any:
    return optim.SGD(groups, lr=0.05, momentum=0.5)


def _train(net: DBM, data: Any, epochs: int) -> None:
    """Train both layers jointly, with mean field and persistent chains."""
    optimizer = optim.SGD(net.parameters(), lr=0.02, momentum=0.5)
    for v in falling(optimizer, data, epochs, batch_size=100):
        net.fill_gradients(v, FIELD)
        optimizer.step()
    optimizer.zero_grad()


def _judge(page: Page, net: DBM, train: Any, test: Any) -> tuple[float, float, float]:
    """log Z, the mean bound on the test digits, and the error of their reconstructions."""
    mu1, mu2 = net.mean_field(train[:2000], 10)
    base = partition.base_rates(net.as_rbm(), mu1)
    others = partition.base_rates(net.as_rbm(), gpudl.cat([train[:2000], mu2], 1))
    betas = page.pick(1000, 10)
    log_z = partition.annealed_log_partition(net.as_rbm(), betas, 100, base, hidden_base=others)
    v = test[:JUDGED]
    bound = net.bound(v, *net.mean_field(v, 25)).mean().item() - log_z.log_z
    error = ((net(v) - v) ** 2).mean().item()
    return log_z.log_z, bound, error


def _draw(page: Page, net: DBM, test: Any) -> None:
    steps = page.pick(500, 2)
    drawn = net.sample(60, steps).cpu().numpy().reshape(-1, 28, 28)
    caption = f"Samples (means): {steps} Gibbs steps from the persistent chains"
    page.image("samples", page.grid(drawn, 15, vmin=0, vmax=1), caption)
    digits = test[:15]
    tiles = gpudl.cat([digits, net(digits).detach()], 0).cpu().numpy().reshape(-1, 28, 28)
    caption = "Test digits and their mean-field reconstructions"
    page.image("reconstructions", page.grid(tiles, 15, vmin=0, vmax=1), caption)


def _field(page: Page, net: DBM, test: Any) -> None:
    """How the bound rises with the number of mean-field steps."""
    v = test[:200]
    start = gpudl.full((len(v), net.hidden[1]), 0.5, device=page.device)
    bounds = []
    mu2 = start
    for _ in range(20):
        mu1, mu2 = net.mean_field(v, 1, mu2)
        bounds.append(net.bound(v, mu1, mu2).mean().item())
    gaps = np.array(bounds[-1]) - bounds
    with page.axes("mean-field", "Mean field: the remaining gap", size=(4.5, 3)) as axes:
        axes.semilogy(range(1, len(gaps)), np.maximum(gaps[:-1], 1e-4))
        axes.set(xlabel="steps", ylabel="bound after 20 steps − bound, nats")
    rising = bool((np.diff(bounds) > -1e-3).all())
    measured = f"{bounds[-1] - bounds[0]:.2f} nats from the first step to the twentieth"
    page.check("no mean-field step lowers the bound", rising, measured)
