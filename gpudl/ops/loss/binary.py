"""Binary cross-entropy of probabilities and of logits."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.core.op import Array, Case
from gpudl.ops.loss.pairs_base import ElementLoss, by_hand


class BinaryCrossEntropyOp(ElementLoss):
    """loss = -weight·(t·log x + (1 - t)·log(1 - x)) for probabilities x; logarithms are clamped at
    -100. NaN for x outside [0, 1]."""

    FLOPS = 20
    inputs = ("x", "target", "weight?")
    saves = ("x", "target", "weight")
    constants = ("weight",)

    def logarithms(self, xp: Any, x: Any) -> tuple[Any, Any]:
        return xp.maximum(xp.log(x), -100), xp.maximum(xp.log1p(-x), -100)

    def losses(self, xp: Any, *inputs: Any) -> Array:
        x, t, weight = inputs
        positive, negative = self.logarithms(xp, x)
        loss = (t - 1) * negative - t * positive
        return loss if weight is None else loss * weight

    def slopes(self, xp: Any, saved: Any, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        x, t = saved.x, saved.target
        factor = 1 if saved.weight is None else saved.weight
        dx = dt = None
        if needs[0]:
            dx = (x - t) / xp.maximum((1 - x) * x, 1e-12) * factor
        if needs[1]:
            positive, negative = self.logarithms(xp, x)
            dt = (negative - positive) * factor
        return dx, dt, None

    def twin(self, torch: Any, x: Any, target: Any, weight: Any = None) -> Any:
        return torch.nn.functional.binary_cross_entropy(x, target, weight, reduction=self.kind)

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
        x, t = rng.uniform(0.05, 0.95, shape), rng.uniform(0, 1, shape)
        return np.asarray(x, np.float32), np.asarray(t, np.float32), None

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases()
        each, log2 = cls.of(False, False), math.log(2)
        yield by_hand(each, [0.5, 0.25], [1, 0], [log2, math.log(4 / 3)])
        weighted = cls.of(True, True)
        draw = lambda rng: (*cls.draw(rng, (4, 5))[:2], *cls.draw(rng, (4, 5))[:1])  # noqa: E731
        yield Case("weights", weighted, draw)


class BinaryCrossEntropyWithLogitsOp(ElementLoss):
    """loss = weight·((1 - t)·x + s·log(1 + exp(-x))), s = 1 + (pos_weight - 1)·t: the cross-entropy
    of sigmoid(x) and t, without overflow."""

    FLOPS = 22
    inputs = ("x", "target", "weight?", "pos_weight?")
    saves = ("x", "target", "weight", "pos_weight")
    constants = ("weight", "pos_weight")

    def losses(self, xp: Any, *inputs: Any) -> Array:
        x, t, weight, pos_weight = inputs
        softplus = xp.logaddexp(-x, xp.zeros_like(x))  # log(1 + exp(-x))
        loss = (1 - t) * x + (
            softplus if pos_weight is None else softplus * (1 + (pos_weight - 1) * t)
        )
        return loss if weight is None else loss * weight

    def slopes(self, xp: Any, saved: Any, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        x, t, weight, pos_weight = saved.x, saved.target, saved.weight, saved.pos_weight
        factor = 1 if weight is None else weight
        extra = 0 if pos_weight is None else pos_weight - 1
        dx = dt = None
        if needs[0]:
            dx = (1 - t - (1 + extra * t) / (1 + xp.exp(x))) * factor
        if needs[1]:
            dt = (extra * xp.logaddexp(-x, xp.zeros_like(x)) - x) * factor
        return dx, dt, None, None

    def twin(
        self, torch: Any, x: Any, target: Any, weight: Any = None, pos_weight: Any = None
    ) -> Any:
        return torch.nn.functional.binary_cross_entropy_with_logits(
            x, target, weight, reduction=self.kind, pos_weight=pos_weight
        )

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
        x = np.asarray(rng.standard_normal(shape) * 3, np.float32)
        return x, np.asarray(rng.uniform(0, 1, shape), np.float32), None, None

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases()
        each = cls.of(False, False)
        yield by_hand(each, [0, 100, -100], [1, 1, 1], [math.log(2), 0, 100])

        def weighted(rng: np.random.Generator) -> tuple[Array, ...]:
            weights = rng.uniform(0.5, 3, (2, 4, 5)).astype(np.float32)
            return *cls.draw(rng, (4, 5))[:2], *weights

        yield Case("weights", cls.of(True, True), weighted)
        yield Case("pos_weight", each, lambda rng: (*weighted(rng)[:2], None, weighted(rng)[3]))
        short = np.ones(4, np.float32)
        yield Case(
            "short weight",
            each,
            lambda rng: (*cls.draw(rng, (4, 5))[:2], short, None),
            error="weight has shape",
        )
