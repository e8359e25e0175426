"""Elman's net: three gradient rules, how gradients change over time, two problems."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl import Tensor, eye, models, nn, no_grad, optim, stack
from gpudl.models.nets.rnn import ElmanNet, bptt, jacobian_norms, rtrl, truncated_bptt
from gpudl.nn.functional import mse_loss
from gpudl.nn.utils import clip_grad_norm_
from gpudl.zoo.language import shakespeare, show_sample, train_on_text
from gpudl.zoo.page import Page, page

Pair = tuple[npt.NDArray[Any], npt.NDArray[Any]]
STEPS, HIDDEN, BATCH = 40, 64, 32  # for the addition problem
UPDATES, LR, CLIP = 2000, 1e-3, 1.0
NOTE = """Adam divides gradients by their typical size, so clipping changes little here. In plain
gradient descent it prevents a single large gradient from derailing training."""
GUESS = 1 / 6  # mean squared error of always answering 1: the variance of the sum of two uniforms


@page("Recurrent nets", minutes=3)
def rnn(page: Page) -> None:
    """A net whose input includes its own previous state: Elman, Finding Structure in Time,
    Cognitive Science 14 (1990). Unrolled in time it is a deep net with shared weights, and is
    trained as one; over many steps its gradient vanishes or explodes (Hochreiter 1991; Bengio,
    Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013)."""
    _rules(page)
    _jacobians(page)
    _addition(page)
    _characters(page)


def _rules(page: Page) -> None:
    rng = np.random.default_rng(page.seed)
    net = ElmanNet(2, 8, 1, "orthogonal").to(page.device, page.widest)
    x, target = (page.tensor(part) for part in adding(rng, 20, 4, page.widest))
    targets = target.expand(20, *target.shape)
    rules: dict[str, Any] = {
        "backpropagation through time": bptt,
        "real-time recurrent learning": rtrl,
        **{f"truncated after {k} step{'s' if k > 1 else ''}": _truncated(k) for k in (10, 5, 2, 1)},
    }
    rows, found = [], []
    for name, rule in rules.items():
        net.zero_grad()
        loss = rule(net, x, targets, mse_loss)
        assert net.weight.grad is not None
        found.append(net.weight.grad.numpy().ravel().copy())
        difference = np.abs(found[-1] - found[0]).max() / np.abs(found[0]).max()
        cosine = found[-1] @ found[0] / np.linalg.norm(found[-1]) / np.linalg.norm(found[0])
        rows.append((name, loss, float(difference), float(cosine)))
    head = ("rule", "loss", "largest difference", "cosine")
    page.table(head, rows, "Gradients of a loss over 20 steps, compared with the first rule's")
    near = 1e-10 if page.widest == np.float64 else 1e-5
    claim = f"real-time recurrent learning gives the gradient of backpropagation, to {near:.0e}"
    page.check(claim, rows[1][2] < near, f"{rows[1][2]:.1e}")


def _truncated(window: int) -> Any:
    return partial(truncated_bptt, window=window)


def _jacobians(page: Page) -> None:
    page.text(
        "The norm of ∂h[T]/∂h[T-k] shows how far back an error signal reaches. With the usual "
        "uniform initial weights in ±1/√hidden it shrinks by about 1/√3 per step, the largest "
        "eigenvalue of such a matrix. Orthogonal initial weights preserve it while states are "
        "small; with a gain above one it grows."
    )
    rng = np.random.default_rng(page.seed)
    x = page.tensor(rng.normal(0, 0.01, (60, 1, 2)), np.float32)
    starts = (("uniform", 1.0), ("orthogonal", 1.0), ("orthogonal", 1.1))
    last = {}
    caption = "Norm of the Jacobian over k steps, at the start of training"
    with page.axes("jacobians", caption, size=(5, 3.2)) as axes:
        for start, gain in starts:
            norms = jacobian_norms(ElmanNet(2, HIDDEN, 1, start, gain).to(page.device), x)
            label = start if gain == 1 else f"{start}, gain {gain}"
            axes.plot(norms, label=label)
            last[label] = norms[-1]
        axes.set(xlabel="k", ylabel="norm", yscale="log")
        axes.legend()
    vanished, kept, grown = last.values()
    shown = ", ".join(f"{label} {norm:.1e}" for label, norm in last.items())
    holds = vanished < 1e-3 and 0.5 < kept <= 1.01 and grown > 5
    page.check("59 steps back the gradient vanishes, is preserved, explodes", holds, shown)


class Adder(nn.Module):
    """A recurrent layer, and a linear layer on its final state."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(layer.hidden_size, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][-1])


def _addition(page: Page) -> None:
    page.text(
        f"The addition problem (Hochreiter and Schmidhuber 1997): the input is {STEPS} pairs of a "
        "number from 0 to 1 and a mark. Two numbers are marked, one in each half; the target is "
        f"their sum, at the end. Always answering 1 costs {GUESS:.3f}."
    )
    orthogonal = nn.RNN(2, HIDDEN)
    nn.init.orthogonal_(orthogonal.weight_hh_l0)
    nets = {
        "tanh, uniform start": (nn.RNN(2, HIDDEN), CLIP),
        "tanh, orthogonal start": (orthogonal, CLIP),
        "ReLU, identity start": (_identity(), CLIP),
        "the same, without clipping": (_identity(), math.inf),
        "LSTM": (nn.LSTM(2, HIDDEN), CLIP),
    }
    losses, norms = {}, {}
    for name, (layer, clip) in nets.items():
        losses[name], norms[name] = add_up(page, Adder(layer).to(page.device), clip)
    caption = "Addition problem: mean squared error on new sequences, and gradient norms"
    with page.axes("addition", caption, 1, 2) as (left, right):
        for name in nets:
            left.plot(_smooth(losses[name]), label=name)
            right.plot(norms[name], label=name, lw=0.5)
        left.axhline(GUESS, color="grey", lw=0.8)
        right.axhline(CLIP, color="grey", lw=0.8)
        left.set(xlabel="update", ylabel="squared error", yscale="log")
        right.set(xlabel="update", ylabel="norm before clipping", yscale="log")
        left.legend(fontsize=7)
    rows = [
        (name, float(np.mean(losses[name][-100:])), float(np.mean(np.array(norms[name]) > CLIP)))
        for name in nets
    ]
    page.table(("net", "squared error, last 100 updates", f"share of norms above {CLIP}"), rows)
    page.text(NOTE)
    uniform, identity, gated = rows[0][1], rows[2][1], rows[4][1]
    bar = GUESS / 5
    page.text(
        f"Below a fifth of the error of guessing, {bar:.4f}, we call the problem solved. After "
        f"{UPDATES:,} updates the LSTM is at {gated:.4f}, "
        + ("below it." if gated < bar else "still above it: it learns, but has not solved it.")
    )
    claim = "the uniform start learns nothing: its error is above half that of guessing"
    page.check(claim, uniform > GUESS / 2, f"{uniform:.4f}")
    claim = "the identity start solves it: its error is at most a fifth of that of guessing"
    page.check(claim, identity < bar, f"{identity:.4f}")


def _identity() -> nn.RNN:
    """Identity recurrent weights (Le, Jaitly and Hinton 2015): without input the state is
    unchanged."""
    layer = nn.RNN(2, HIDDEN, nonlinearity="relu")
    for bias in (layer.bias_ih_l0, layer.bias_hh_l0):
        nn.init.zeros_(bias)
    nn.init.normal_(layer.weight_ih_l0, 0.0, 0.1)
    with no_grad():
        layer.weight_hh_l0.copy_(eye(HIDDEN))
    return layer


def adding(rng: np.random.Generator, steps: int, batch: int, dtype: Any = np.float32) -> Pair:
    """(steps, batch, 2) numbers and marks, and the sums (batch, 1) of the marked numbers."""
    x = np.zeros((steps, batch, 2), dtype)
    x[:, :, 0] = rng.random((steps, batch))
    first = rng.integers(0, steps // 2, batch)
    second = rng.integers(steps // 2, steps, batch)
    x[first, np.arange(batch), 1] = x[second, np.arange(batch), 1] = 1
    return x, (x[:, :, 0] * x[:, :, 1]).sum(0)[:, None]


def add_up(page: Page, net: Adder, clip: float) -> tuple[list[float], list[float]]:
    """Losses and gradient norms of all updates, each on new sequences."""
    rng = np.random.default_rng(page.seed)
    optimizer = optim.Adam(net.parameters(), lr=LR)
    losses, norms = [], []
    for _ in range(page.pick(UPDATES, 3)):
        x, target = (page.tensor(part) for part in adding(rng, STEPS, BATCH))
        optimizer.zero_grad()
        loss = mse_loss(net(x), target)
        loss.backward()
        norms.append(clip_grad_norm_(net.parameters(), clip))
        optimizer.step()
        losses.append(loss.detach())
    return stack(losses).tolist(), stack(norms).tolist()  # read once, not after each update


def _smooth(values: list[float], width: int = 25) -> Any:
    width = min(width, len(values))
    return np.convolve(values, np.ones(width) / width, "valid")


def _characters(page: Page) -> None:
    split = shakespeare(page)
    net = models.create("char_rnn", hidden=128)
    history = train_on_text(page, net, split, 2, 2e-3)
    loss = history[-1].test_loss
    passes = f"{len(history)} epoch{'s' if len(history) > 1 else ''}"
    page.text(
        "As a character-level language model, an Elman net of 128 units, trained for "
        f"{passes} on the first nine tenths of Shakespeare's plays, has a loss of {loss:.3f} nats "
        "per character on the last tenth. Gated nets do better: see the page on LSTM and GRU."
    )
    page.check("language model below 2.2 nats per character", loss < 2.2, f"{loss:.3f}")
    show_sample(page, net, split, "it")
