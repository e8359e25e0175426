"""Elementwise losses of x and target: mse, l1, huber, kl_div and others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.core.op import Case, Spec, require
from gpudl.ops.elementwise.rounding import sign_of
from gpudl.ops.loss.pairs_base import Difference, PairLoss, by_hand


class MseLossOp(Difference):
    """loss = (x - target)²."""

    def of_difference(self, xp: Any, d: Any) -> Any:
        return d * d

    def slope(self, xp: Any, d: Any) -> Any:
        return d * 2

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.common_cases()
        yield by_hand(cls.of(), [1, 2], [3, 5], 6.5)
        odd = np.array([np.nan, np.inf, -np.inf, 1e15], np.float32)
        zero = np.zeros(4, np.float32)
        yield Case("special values", cls.of(False, False), lambda rng: (odd, zero))


class L1LossOp(Difference):
    """loss = |x - target|. The gradient is 0 where they are equal or NaN."""

    def of_difference(self, xp: Any, d: Any) -> Any:
        return xp.abs(d)

    def slope(self, xp: Any, d: Any) -> Any:
        return sign_of(xp, d)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases()
        yield by_hand(cls.of(), [1, 2], [3, 5], 2.5)
        odd = np.array([np.nan, np.inf, -np.inf, 0], np.float32)
        yield Case("special values", cls.of(False, False), lambda rng: (odd, np.zeros_like(odd)))


class SmoothL1LossOp(Difference):
    """loss = d²/(2·beta) if |d| < beta, else |d| - beta/2, with d = x - target (Girshick 2015,
    "Fast R-CNN", equation 3, for beta = 1)."""

    FLOPS = 5
    beta: float = 1.0

    def infer(self, x: Spec, target: Spec, *others: Spec | None) -> tuple[Spec, ...]:
        require(self.beta >= 0, self, "beta", f"is {self.beta}; it must be at least 0")
        return super().infer(x, target, *others)

    def of_difference(self, xp: Any, d: Any) -> Any:
        size = xp.abs(d)
        if self.beta == 0:
            return size
        near = xp.minimum(size, self.beta)
        return near * (size - 0.5 * near) / self.beta

    def slope(self, xp: Any, d: Any) -> Any:
        if self.beta == 0:
            return sign_of(xp, d)
        return xp.clip(d / self.beta, -1, 1)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases()
        yield by_hand(cls.of(False, False), [0.5, 3, -3], [0, 0, 0], [0.125, 2.5, 2.5])
        yield by_hand(cls.of(False, False, 0.0), [0.5, 3, -3], [0, 0, 0], [0.5, 3, 3])
        yield by_hand(cls.of(False, False, 2.0), [0.5, 3, 1], [0, 0, 0], [0.0625, 2, 0.25])
        odd = np.array([np.nan, np.inf, -np.inf], np.float32)
        yield Case("special values", cls.of(False, False), lambda rng: (odd, np.zeros_like(odd)))
        yield Case(
            "beta", cls.of(True, True, -1.0), lambda rng: cls.draw(rng, (2,)), error="beta is -1"
        )


class HuberLossOp(Difference):
    """loss = d²/2 if |d| <= delta, else delta·(|d| - delta/2), with d = x - target (Huber 1964)."""

    FLOPS = 5
    delta: float = 1.0

    def infer(self, x: Spec, target: Spec, *others: Spec | None) -> tuple[Spec, ...]:
        require(self.delta > 0, self, "delta", f"is {self.delta}; it must be above 0")
        return super().infer(x, target, *others)

    def of_difference(self, xp: Any, d: Any) -> Any:
        size = xp.abs(d)
        near = xp.minimum(size, self.delta)
        return near * (size - 0.5 * near)

    def slope(self, xp: Any, d: Any) -> Any:
        return xp.clip(d, -self.delta, self.delta)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(0.5)
        yield by_hand(cls.of(False, False, 2.0), [1, 3, -4], [0, 0, 0], [0.5, 4, 6])
        yield Case(
            "delta", cls.of(True, True, 0.0), lambda rng: cls.draw(rng, (2,)), error="delta is 0"
        )


class KlDivOp(PairLoss):
    """loss = target·(log target - x) for log-probabilities x; 0 where target is 0. log_target:
    target holds log-probabilities too. Kullback and Leibler 1951."""

    FLOPS = 11
    log_target: bool = False

    def value(self, xp: Any, x: Any, t: Any) -> Any:
        if self.log_target:
            return xp.exp(t) * (t - x)
        return xp.where(t == 0, 0, t * xp.log(t)) - t * x

    def dx(self, xp: Any, x: Any, t: Any) -> Any:
        return -xp.exp(t) if self.log_target else -t

    def dt(self, xp: Any, x: Any, t: Any) -> Any:
        return xp.exp(t) * (t - x + 1) if self.log_target else xp.log(t) + 1 - x

    def twin(self, torch: Any, x: Any, target: Any) -> Any:
        kind = "sum" if self.averaged else self.kind  # PyTorch's "mean" warns
        y = torch.nn.functional.kl_div(x, target, reduction=kind, log_target=self.log_target)
        return y / x.numel() if self.averaged else y

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
        x, target = (rng.uniform(0.05, 1, shape) for _ in range(2))
        return np.asarray(np.log(x), np.float32), np.asarray(target, np.float32)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases()
        yield from cls.few_cases(True)
        log2 = math.log(2)
        yield by_hand(cls.of(False, False), [-log2, -2], [0.5, 1], [0, 2])


class SoftMarginLossOp(PairLoss):
    """loss = log(1 + exp(-target·x)); target is 1 or -1."""

    FLOPS = 20
    constants = ("target",)

    def value(self, xp: Any, x: Any, t: Any) -> Any:
        return xp.logaddexp(-t * x, xp.zeros_like(x))

    def dx(self, xp: Any, x: Any, t: Any) -> Any:
        return -t / (1 + xp.exp(t * x))

    def dt(self, xp: Any, x: Any, t: Any) -> Any:
        return -x / (1 + xp.exp(t * x))

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
        return signed(rng, shape)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases()
        yield by_hand(cls.of(False, False), [0, 200, -200], [1, -1, -1], [math.log(2), 200, 0])


class HingeEmbeddingLossOp(PairLoss):
    """loss = x where target is 1, max(0, margin - x) where it is -1."""

    constants = ("target",)
    margin: float = 1.0

    def value(self, xp: Any, x: Any, t: Any) -> Any:
        return xp.where(t != -1, x, 0) + xp.where(t != 1, xp.maximum(self.margin - x, 0), 0)

    def dx(self, xp: Any, x: Any, t: Any) -> Any:
        near = (t != 1) & (self.margin - x >= 0)
        return (t != -1).astype(x.dtype) - near.astype(x.dtype)

    def dt(self, xp: Any, x: Any, t: Any) -> Any:
        return xp.zeros_like(x)

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
        return signed(rng, shape)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(0.5)
        yield by_hand(cls.of(False, False), [3, 0.25, 2], [1, -1, -1], [3, 0.75, 0])


class PoissonNllLossOp(PairLoss):
    """loss = rate - target·log(rate) for counts with rate exp(x). Without log_input the rate is x,
    with eps added inside the logarithm. full: add Stirling's formula for log(target!) where
    target > 1."""

    FLOPS = 12
    log_input: bool = True
    full: bool = False
    eps: float = 1e-8

    def value(self, xp: Any, x: Any, t: Any) -> Any:
        loss = xp.exp(x) - t * x if self.log_input else x - t * xp.log(x + self.eps)
        if not self.full:
            return loss
        large = xp.maximum(t, 1)
        stirling = large * xp.log(large) - large + 0.5 * xp.log(2 * math.pi * large)
        return loss + xp.where(t > 1, stirling, 0)

    def dx(self, xp: Any, x: Any, t: Any) -> Any:
        return xp.exp(x) - t if self.log_input else 1 - t / (x + self.eps)

    def dt(self, xp: Any, x: Any, t: Any) -> Any:
        slope = -x if self.log_input else -xp.log(x + self.eps)
        if not self.full:
            return slope
        large = xp.maximum(t, 1)
        return slope + xp.where(t > 1, xp.log(large) + 0.5 / large, 0)

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
        x, t = rng.uniform(0.5, 2, shape), rng.uniform(0, 5, shape)
        return np.asarray(x, np.float32), np.asarray(t, np.float32)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases()
        yield from cls.few_cases(False, True)
        yield by_hand(cls.of(False, False), [0, 1], [3, 2], [1, math.e - 2])


def signed(rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """Scores, and targets of 1 or -1."""
    x, sign = rng.standard_normal(shape) * 2, rng.integers(0, 2, shape) * 2 - 1
    return np.asarray(x, np.float32), np.asarray(sign, np.float32)
