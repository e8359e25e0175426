"""Restricted Boltzmann machines on MNIST: likelihood, samples, completion."""

from __future__ import annotations

from typing import Any

import numpy as np

import gpudl
from gpudl import nn, optim
from gpudl.autograd.tape import no_grad
from gpudl.models.nets import partition
from gpudl.models.nets.rbm import fit, in_batches, parameter_groups
from gpudl.zoo.page import Page, page

HIDDEN = 500
SHOWN = 10  # digits to complete


@page("Restricted Boltzmann machine", minutes=3)
def rbm(page: Page) -> None:
    """A layer of hidden units above a layer of visible ones, with an energy that makes the units of
    each layer independent given the other (Smolensky 1986). It is trained by contrastive divergence
    (Hinton 2002) and with persistent chains (Tieleman 2008) on MNIST's digits, rounded to 0 or 1,
    and evaluated by the log-likelihood of the test digits, with the partition function estimated by
    annealed importance sampling (Salakhutdinov and Murray 2008). It draws digits and completes
    half-hidden ones."""
    x_train, _, x_test, _ = page.mnist()
    train, test = (_on(page, x.reshape(len(x), -1) > 0.5) for x in (x_train, x_test))
    results = {}
    for name, chains in (("CD-1", 0), ("persistent, 1 step", 100)):
        machine, last = _train(page, train, chains)
        results[name] = (machine, _judge(page, machine, train, test), last)
    _likelihoods(page, {name: judged for name, (_, judged, _) in results.items()})
    machine, _, last = results["persistent, 1 step"]
    filters = machine.weight.detach().cpu().numpy()[:100].reshape(-1, 28, 28)
    caption = "Features: the weights of 100 hidden units, trained with persistent chains"
    page.image("filters", page.grid(filters, 20), caption)
    _samples(page, machine, last)
    _completions(page, machine, test)
    page.text("The page `rbm-units` covers label units and Gaussian units.")


def _on(page: Page, array: Any) -> Any:
    return gpudl.tensor(np.asarray(array, np.float32), device=page.device)


def _train(page: Page, data: Any, chains: int) -> tuple[nn.RBM, Any]:
    """Train a machine whose visible biases start from the pixel means; returns it and the final
    state of its chains."""
    machine = nn.RBM(784, page.pick(HIDDEN, 30), device=page.device)
    with no_grad():
        machine.visible_bias.copy_(partition.base_rates(machine, data))
    groups = parameter_groups(machine, 0 if chains else 2e-4)
    optimizer = optim.SGD(groups, lr=0.05, momentum=0.5)
    return machine, fit(machine, data, optimizer, page.pick(5, 1), chains=chains)


# ---------------------------------------------------------------------- likelihood


def _judge(page: Page, machine: nn.RBM, train: Any, test: Any) -> tuple[Any, ...]:
    """log Z with its bounds; mean log-likelihoods of training and test digits;
    log-pseudo-likelihood of 1000 test digits from 20 pixels each."""
    betas = page.pick(2000, 10)
    hidden = machine(train[:5000]).detach()
    rates = [partition.base_rates(machine, units) for units in (train, hidden)]
    estimate = partition.annealed_log_partition(machine, betas, 100, rates[0], hidden_base=rates[1])
    of = [
        -in_batches(machine.free_energy, part).mean().item() - estimate.log_z
        for part in (train[: len(test)], test)
    ]
    pixels = gpudl.randperm(784, device=page.device)[:20]
    pseudo = machine.log_pseudo_likelihood(test[:1000], pixels).mean().item()
    return estimate, *of, pseudo


def _likelihoods(page: Page, judged: dict[str, tuple[Any, ...]]) -> None:
    rows = []
    for name, (estimate, train, test, pseudo) in judged.items():
        low, high = estimate.low, f"{estimate.high:.1f}"
        spread = f"{low:.1f} to {high}" if low > -np.inf else f"below {high}"
        rows.append((name, estimate.log_z, spread, train, test, pseudo))
    page.table(
        ("method", "log Z", "± 3 standard errors", "train, nats", "test, nats", "pseudo, nats"),
        rows,
        f"{HIDDEN} hidden units, {page.pick(5, 1)} epochs; mean log-likelihood and "
        "log-pseudo-likelihood per digit",
    )
    page.text(
        "Salakhutdinov and Murray 2008 report, for 500 hidden units, -125.53 nats for CD-1, "
        "-105.50 for CD-3 and -86.34 for CD-25. Their digits were sampled from the grey values, "
        "not rounded, so the numbers are only roughly comparable."
    )
    cd, persistent = (test for _, _, test, _ in judged.values())
    source = "Salakhutdinov and Murray, ICML 2008, estimates by AIS"
    what = "mean test log-likelihood in nats, 500 hidden units"
    page.beside(f"{what}, CD-1 (ours: 5 epochs, rounded digits)", -125.53, cd, source)
    other = f"{what}, CD-25 (ours: persistent chains, 5 epochs, rounded digits)"
    page.beside(other, -86.34, persistent, source)
    measured = f"{persistent:.1f} and {cd:.1f} nats"
    page.check("persistent chains reach a higher likelihood than CD-1", persistent > cd, measured)
    page.check("test log-likelihood above -95 nats", persistent > -95, f"{persistent:.1f} nats")


# ---------------------------------------------------------------------- samples


def _samples(page: Page, machine: nn.RBM, chains: Any) -> None:
    steps = page.pick(200, 2)
    v = machine.gibbs(chains[:60], steps)
    mean = machine.sample_visible(machine.sample_hidden(v)[1])[0]
    caption = f"Samples (means): {steps} Gibbs steps from the persistent chains"
    drawn = mean.cpu().numpy().reshape(-1, 28, 28)
    page.image("samples", page.grid(drawn, 15, vmin=0, vmax=1), caption)


def _completions(page: Page, machine: nn.RBM, test: Any) -> None:
    """Test digits, their upper halves, and three completions."""
    known = gpudl.arange(784, device=page.device) < 392
    digits = test[:SHOWN]
    noise = gpudl.rand(*digits.shape, device=page.device).round()
    begun = gpudl.where(known, digits, noise)
    hidden = gpudl.where(known, digits, gpudl.full_like(digits, 0.5))
    rows = [digits, hidden]
    rows += [machine.complete(begun, known, page.pick(100, 2)) for _ in range(3)]
    tiles = gpudl.cat(rows, 0).cpu().numpy().reshape(-1, 28, 28)
    page.image(
        "completions",
        page.grid(tiles, SHOWN, scale=1, vmin=0, vmax=1),
        "Test digits, their upper halves, and three completions by Gibbs sampling from noise with "
        "the upper half fixed",
    )
    wrong = (rows[2] - digits).abs()[:, 392:].mean().item()
    guess = (test.mean(0) - digits).abs()[:, 392:].mean().item()
    measured = f"{wrong:.3f} and {guess:.3f} per pixel"
    page.check("completions are closer to the truth than the mean digit", wrong < guess, measured)
