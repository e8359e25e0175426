"""The partition function Z = Σ exp(-E) of restricted Boltzmann machines: exact if the hidden layer
is small, otherwise estimated by annealed importance sampling.

It gives log p(v) = -F(v) - log Z. Salakhutdinov and Murray, On the Quantitative Analysis of Deep
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

LARGEST = 20  # hidden units of the exact sum: a million states
AT_ONCE = 12  # log2 of the states per chunk


def log_partition(rbm: nn.RBM) -> Tensor:
    """log Z, exactly, by summing over all states of the hidden units. Differentiable.

    Raises ValueError for more than 20 hidden units.
    """
    hidden = rbm.hidden_features
    if hidden > LARGEST:
        raise ValueError(
            f"log_partition: {hidden} hidden units have too many states; at most {LARGEST} are "
            "possible, use annealed_log_partition for more"
        )
    parts = []
    for start in range(0, 1 << hidden, 1 << AT_ONCE):
        numbers = np.arange(start, min(start + (1 << AT_ONCE), 1 << hidden))
        h = tensor(bits(numbers, hidden), device=rbm.weight.device)
        parts.append((rbm.log_visible_sum(h) + h @ rbm.hidden_bias).logsumexp(0))
    return stack(parts).logsumexp(0)


def bits(numbers: Any, count: int) -> Any:
    """The lowest `count` bits of integers as rows of zeros and ones, the highest first."""
    shifts = np.arange(count - 1, -1, -1)
    return (np.asarray(numbers)[:, None] >> shifts & 1).astype(np.float32)


class Estimate(NamedTuple):
    """log_z is the log of the mean weight; low and high, of the mean three standard errors below
    (-inf if not positive) and above. log_weights: (chains,) float64."""

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

    The chains go from independent units with biases `base` and `hidden_base` (default zero; for
    base, `base_rates` of the data is better) to the machine, through p(v, h) ∝ exp((1-β)·(base·v +
    hidden_base·h) - β·E(v, h)), for Gaussian units with means (1-β)·base + β·b. betas: increasing
    from 0 to 1, or their number (`schedule`). The estimate of Z is unbiased for any betas; more of
    them lower its variance.
    """
    steps = schedule(betas) if isinstance(betas, int) else np.asarray(betas, float)
    ends = steps.ndim == 1 and len(steps) > 1 and (steps[0], steps[-1]) == (0, 1)
    if not ends or (np.diff(steps) < 0).any():
        raise ValueError("annealed_log_partition: betas must increase from 0 to 1")
    if chains < 2:
        raise ValueError(f"annealed_log_partition: chains is {chains}; it must be 2 or more")
    device = rbm.weight.device
    start = zeros(rbm.visible_features, device=device) if base is None else base
    no_bias = zeros(rbm.hidden_features, device=device)
    hidden_start = no_bias if hidden_base is None else hidden_base
    no_hidden = zeros(chains, rbm.hidden_features, device=device)
    v = rbm.sample_visible(no_hidden, generator, start)[1]
    gains = []
    for old, new in pairwise(steps):
        a = F.linear(v, rbm.weight, rbm.hidden_bias)
        gain = _visible_gain(rbm, v, start, old, new)
        before, after = (a * beta + hidden_start * (1 - beta) for beta in (old, new))
        gain = gain + (F.softplus(after) - F.softplus(before)).sum(1)
        gains.append(gain)
        h = F.sigmoid(after).bernoulli(generator)
        v = rbm.sample_visible(h * new, generator, _bias(rbm, start, new))[1]
    visible_sum = rbm.log_visible_sum(no_hidden[:1], start).item()
    log_z_start = visible_sum + F.softplus(hidden_start).sum().item()
    log_weights = stack(gains).cpu().numpy().sum(0, dtype=float)  # read once, at the end
    return _estimate(log_weights, log_z_start)


def _bias(rbm: nn.RBM, base: Tensor, beta: float) -> Tensor:
    return base * (1 - beta) + rbm.visible_bias * beta


def _visible_gain(rbm: nn.RBM, v: Tensor, base: Tensor, old: float, new: float) -> Tensor:
    """The change of -F(v) from β = old to new, without the hidden units' part."""
    before, after = _bias(rbm, base, old), _bias(rbm, base, new)
    if rbm.visible_kind == "gaussian":
        return ((v - before) ** 2 - (v - after) ** 2).sum(1) * 0.5
    return v @ (after - before)


def _estimate(log_weights: Any, first: float) -> Estimate:
    """Logs of the mean weight and of the mean ± three standard errors."""
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
    """(count,) inverse temperatures β from 0 to 1, dense near 1: 3 % up to 0.5, 28 % from there to
    0.9, 69 % above (as Salakhutdinov and Murray chose)."""
    if count < 2:
        raise ValueError(f"schedule: count is {count}; it must be 2 or more")
    return np.interp(np.linspace(0, 1, count), [0, 0.03, 0.31, 1], [0, 0.5, 0.9, 1])


def base_rates(rbm: nn.RBM, data: Tensor) -> Tensor:
    """Biases (visible,) of independent units with the means of data (N, visible), for binary units
    smoothed slightly towards 1/2. For `annealed_log_partition`."""
    mean = data.mean(0)
    if rbm.visible_kind == "gaussian":
        return mean
    mean = (mean * len(data) + 1) / (len(data) + 2)
    return (mean / (1 - mean)).log()


@no_grad()
def log_likelihood(rbm: nn.RBM, v: Tensor, log_z: float) -> Tensor:
    """log p(v) in nats: (N, visible) -> (N,); a log density for Gaussian visible units."""
    return -rbm.free_energy(v) - log_z
