"""The partition function Z = Σ exp(-E) of restricted Boltzmann machines: exactly where one layer is
small, estimated by annealed importance sampling where it is not.

With it log p(v) = -F(v) - log Z. Salakhutdinov and Murray, On the Quantitative Analysis of Deep
Belief Networks, ICML 2008; Neal, Annealed Importance Sampling, Statistics and Computing 11 (2001).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

import gpudl.nn.functional as F
from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor, tensor
from gpudl.core.random import Generator
from gpudl.ops.shape.create import zeros
from gpudl.ops.shape.joining import stack

LARGEST = 20  # units whose states are counted through: a million states
AT_ONCE = 12  # bits of the states that are worked on at a time


def log_partition(rbm: nn.RBM) -> Tensor:
    """log Z, exactly, by going through all states of the hidden units. With gradients.

    Raises ValueError for more than 20 hidden units.
    """
    hidden = rbm.hidden_features
    if hidden > LARGEST:
        raise ValueError(
            f"log_partition: {hidden} hidden units have too many states; at most {LARGEST} can be "
            "gone through, annealed_log_partition estimates log Z of more"
        )
    parts = []
    for start in range(0, 1 << hidden, 1 << AT_ONCE):
        numbers = np.arange(start, min(start + (1 << AT_ONCE), 1 << hidden))
        h = tensor(bits(numbers, hidden), device=rbm.weight.device)
        parts.append((rbm.log_visible_sum(h) + h @ rbm.hidden_bias).logsumexp(0))
    return stack(parts).logsumexp(0)


def bits(numbers: Any, count: int) -> Any:
    """The lowest `count` bits of whole numbers, as rows of zeros and ones, the highest first."""
    shifts = np.arange(count - 1, -1, -1)
    return (np.asarray(numbers)[:, None] >> shifts & 1).astype(np.float32)


class Estimate(NamedTuple):
    """log_z, and the logarithms of the mean weight three standard errors below and above (-inf
    where that is not positive); log_weights: (chains,) float64."""

    log_z: float
    low: float
    high: float
    log_weights: Any


@no_grad()
def annealed_log_partition(
    rbm: nn.RBM,
    betas: Any = 1000,
    chains: int = 100,
    base: Tensor | None = None,
    generator: Generator | None = None,
    hidden_base: Tensor | None = None,
) -> Estimate:
    """log Z estimated by annealed importance sampling.

    The chains go from independent units with biases `base` and `hidden_base` (default zero; those
    with the means of the data, `base_rates`, are better) to the machine, through p(v, h) ∝
    exp((1-β)·(base·v + hidden_base·h) - β·E(v, h)), or with Gaussian units of means (1-β)·base +
    β·b. betas: rising from 0 to 1, or how many (`schedule`).
    The estimate of Z is unbiased whatever their number; its spread falls with it.
    """
    steps = schedule(betas) if isinstance(betas, int) else np.asarray(betas, float)
    ends = steps.ndim == 1 and len(steps) > 1 and (steps[0], steps[-1]) == (0, 1)
    if not ends or (np.diff(steps) < 0).any():
        raise ValueError("annealed_log_partition: betas must rise from 0 to 1")
    if chains < 2:
        raise ValueError(f"annealed_log_partition: chains is {chains}; it must be 2 or more")
    device = rbm.weight.device
    start = zeros(rbm.visible_features, device=device) if base is None else base
    no_bias = zeros(rbm.hidden_features, device=device)
    below = no_bias if hidden_base is None else hidden_base
    nothing = zeros(chains, rbm.hidden_features, device=device)
    v = rbm.sample_visible(nothing, generator, start)[1]
    gains = []
    for old, new in pairwise(steps):
        a = F.linear(v, rbm.weight, rbm.hidden_bias)
        gain = _visible_gain(rbm, v, start, old, new)
        before, after = (a * beta + below * (1 - beta) for beta in (old, new))
        gain = gain + (F.softplus(after) - F.softplus(before)).sum(1)
        gains.append(gain)
        h = F.sigmoid(after).bernoulli(generator)
        v = rbm.sample_visible(h * new, generator, _bias(rbm, start, new))[1]
    first = rbm.log_visible_sum(nothing[:1], start).item() + F.softplus(below).sum().item()
    log_weights = stack(gains).cpu().numpy().sum(0, dtype=float)  # read once, at the end
    return _estimate(log_weights, first)


def _bias(rbm: nn.RBM, base: Tensor, beta: float) -> Tensor:
    return base * (1 - beta) + rbm.visible_bias * beta


def _visible_gain(rbm: nn.RBM, v: Tensor, base: Tensor, old: float, new: float) -> Tensor:
    """What the step from old to new adds to -F(v), but for the hidden units."""
    before, after = _bias(rbm, base, old), _bias(rbm, base, new)
    if rbm.visible_kind == "gaussian":
        return ((v - before) ** 2 - (v - after) ** 2).sum(1) * 0.5
    return v @ (after - before)


def _estimate(log_weights: Any, first: float) -> Estimate:
    """The mean of the weights and three times its standard error, in logarithms."""
    largest = log_weights.max()
    weights = np.exp(log_weights - largest)
    mean, error = weights.mean(), weights.std(ddof=1) / math.sqrt(len(weights))
    with np.errstate(divide="ignore"):
        low, middle, high = (
            float(np.log(max(x, 0.0)) + largest + first)
            for x in (mean - 3 * error, mean, mean + 3 * error)
        )
    return Estimate(middle, low, high, log_weights + first)


def schedule(count: int) -> Any:
    """(count,) temperatures β from 0 to 1, dense where the machine is nearly itself: 3 % of them
    up to 0.5, 28 % from there to 0.9, 69 % above (as Salakhutdinov and Murray chose)."""
    if count < 2:
        raise ValueError(f"schedule: count is {count}; it must be 2 or more")
    return np.interp(np.linspace(0, 1, count), [0, 0.03, 0.31, 1], [0, 0.5, 0.9, 1])


def base_rates(rbm: nn.RBM, data: Tensor) -> Tensor:
    """Biases (visible,) of independent units that have the means of data (N, visible), which is
    drawn a little towards 1/2, for `annealed_log_partition`."""
    mean = data.mean(0)
    if rbm.visible_kind == "gaussian":
        return mean
    mean = (mean * len(data) + 1) / (len(data) + 2)
    return (mean / (1 - mean)).log()


@no_grad()
def log_likelihood(rbm: nn.RBM, v: Tensor, log_z: float) -> Tensor:
    """log p(v) in nats: (N, visible) -> (N,); a density where the visible units are Gaussian."""
    return -rbm.free_energy(v) - log_z
