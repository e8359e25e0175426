"""Cross-entropy from logits, with class probabilities as targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.core.op import Array, Case, Cost, Op, Spec, require, require_float
from gpudl.ops.loss.classes_base import logits


class CrossEntropyProbabilitiesOp(Op):
    """loss = -Σ over c of w[c]·q'[c]·log p[c], p = softmax(x), q' = (1 - e)·q + e/C for the target
    q and e = label_smoothing; the mean divides by the number of rows. x and target (..., C), weight
    (C)."""

    inputs = ("x", "target", "weight?")
    outputs = ("y", "lse", "mass")  # lse, mass: log(Σ exp(x)) and Σ w·q' of each row
    internal = ("lse", "mass")
    saves = ("x", "target", "weight", "lse", "mass")
    constants = ("weight",)
    kernels = ("rows",)
    reduced: bool = True
    averaged: bool = True
    label_smoothing: float = 0.0

    def infer(self, x: Spec, target: Spec, weight: Spec | None = None) -> tuple[Spec, ...]:
        require_float(self, x=x, target=target, weight=weight)
        shape, smooth = x.shape, self.label_smoothing
        require(0 <= smooth <= 1, self, "label_smoothing", f"is {smooth}; it must be from 0 to 1")
        has_classes = len(shape) > 0 and shape[-1] > 0
        require(has_classes, self, "x", f"is {x}; it must have at least one class")
        same = target.shape == shape
        words = f"has shape {target.shape}; probabilities must have x's, {shape} (labels are int64)"
        require(same, self, "target", words)
        fits = weight is None or weight.shape == shape[-1:]
        words = f"has shape {weight and weight.shape}; it must be ({shape[-1]},)"
        require(fits, self, "weight", words)
        row = Spec(shape[:-1], x.dtype)
        return Spec((), x.dtype) if self.reduced else row, row, row

    def masses(self, xp: Any, target: Array, weight: Array | None) -> Array:
        smooth = self.label_smoothing
        q = target * (1 - smooth) + smooth / target.shape[-1]
        return q if weight is None else q * weight

    def forward(self, xp: Any, x: Array, target: Array, weight: Any = None) -> tuple[Array, ...]:
        top = x.max(-1)
        lse = xp.asarray(top + xp.log(xp.exp(x - top[..., None]).sum(-1)))
        masses = self.masses(xp, target, weight)
        y = (masses * (lse[..., None] - x)).sum(-1)
        if self.averaged:
            y = y.sum() / x.dtype.type(y.size)
        elif self.reduced:
            y = y.sum()
        return xp.asarray(y), lse, xp.asarray(masses.sum(-1))

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        logs = saved.x - saved.lse[..., None]
        scale = dys[0][..., None]
        if self.averaged:
            scale = scale / saved.x.dtype.type(saved.x[..., 0].size)
        dx = dtarget = None
        if needs[0]:
            masses = self.masses(xp, saved.target, saved.weight)
            dx = scale * (xp.exp(logs) * saved.mass[..., None] - masses)
        if needs[1]:
            each = 1 if saved.weight is None else saved.weight
            dtarget = scale * ((self.label_smoothing - 1) * each * logs)
        return dx, dtarget, None

    def cost(self, x: Spec, target: Spec, weight: Spec | None = None) -> Cost:
        rows = x.size // x.shape[-1]
        moved = 2 * x.size + (1 if self.reduced else rows)
        return Cost(13 * x.size, moved * x.dtype.itemsize)

    def reduction(self, x: Spec, *others: Any) -> int:
        return x.size

    def twin(self, torch: Any, x: Any, target: Any, weight: Any = None) -> Any:
        kind = "mean" if self.averaged else "sum" if self.reduced else "none"
        return torch.nn.functional.cross_entropy(
            x.movedim(-1, 1) if x.ndim > 1 else x,
            target.movedim(-1, 1) if x.ndim > 1 else target,
            weight,
            reduction=kind,
            label_smoothing=self.label_smoothing,
        )

    @classmethod
    def cases(cls) -> Iterator[Case]:
        def draw(rng: np.random.Generator, *shape: int, weight: bool = False) -> tuple[Any, ...]:
            q = rng.random(shape)
            q = (q / q.sum(-1, keepdims=True)).astype(np.float32)
            weights = rng.uniform(0.5, 2, shape[-1]).astype(np.float32) if weight else None
            return logits(rng, shape), q, weights

        for reduced, averaged, smooth in (
            (True, True, 0.0),
            (True, False, 0.1),
            (False, False, 0.3),
        ):
            op = cls.of(reduced, averaged, smooth)
            yield Case(f"{op}", op, lambda rng: draw(rng, 7, 10))
            yield Case(f"{op}, weights", op, lambda rng: draw(rng, 2, 3, 5, weight=True))
        mean = cls.of()
        for shape in ((3, 36), (2, 700), (280, 30), (3, 2051), (6,)):
            yield Case("x".join(map(str, shape)), mean, lambda rng, s=shape: draw(rng, *s))
        yield Case("empty", cls.of(True, False), lambda rng: draw(rng, 0, 3))
        x, q = np.array([[0, 0]], np.float32), np.array([[0.25, 0.75]], np.float32)
        log2 = np.float32(0.6931471805599453)
        yield Case("by hand", mean, lambda rng: (x, q, None), golden=(log2,))
        wrong = lambda rng: (logits(rng, (2, 3)), logits(rng, (3, 2)), None)  # noqa: E731
        yield Case("other shape", mean, wrong, error="probabilities must have x's")
