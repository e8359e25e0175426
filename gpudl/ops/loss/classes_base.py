"""Base of classification losses: labels, weights, reductions, test cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.core.op import Array, Case, Op, Spec, require, require_float

IGNORED = -100


class ClassLoss(Op):
    """A loss of rows x (..., C) with labels (...) and class weights (C).

    reduced: return one number, the sum or, if averaged, the mean weighted by the labels' class
    weights; else one number per label.
    """

    inputs = ("x", "target", "weight?")
    constants = ("weight",)
    reduced: bool = True
    averaged: bool = True
    ignore_index: int = IGNORED

    def infer_loss(self, x: Spec, target: Spec, weight: Spec | None = None) -> Spec:
        require_float(self, x=x, weight=weight)
        has_classes = len(x.shape) > 0 and x.shape[-1] > 0
        require(has_classes, self, "x", f"is {x}; it must have at least one class")
        require(
            target.dtype == np.int64,
            self,
            "target",
            f"is {target.dtype.name}; labels must be int64 class indices, not probabilities "
            "(use .long())",
        )
        labels, classes = x.shape[:-1], x.shape[-1]
        require(
            target.shape == labels,
            self,
            "target",
            f"has shape {target.shape}; it must be {labels}, one label per row of x",
        )
        require(
            weight is None or weight.shape == (classes,),
            self,
            "weight",
            f"has shape {weight and weight.shape}; it must be ({classes},), one weight per class",
        )
        return Spec(() if self.reduced else labels, x.dtype)

    def labels(self, xp: Any, target: Array, classes: int) -> tuple[Array, Array]:
        """(mask of labels that are not ignored, labels with 0 for ignored ones).

        Raises IndexError for a label out of range.
        """
        flat = target.reshape(-1)
        counts = flat != self.ignore_index
        safe = xp.where(counts, flat, 0)
        if safe.size and (safe.min() < 0 or safe.max() >= classes):
            wrong = safe[(safe < 0) | (safe >= classes)][0]
            raise IndexError(
                f"{self.name}: target has the label {wrong}; labels must be 0 to {classes - 1}, "
                f"or {self.ignore_index} to ignore it"
            )
        return counts, safe

    def reduce(self, xp: Any, losses: Array, weights: Array, shape: Any) -> tuple[Array, Array]:
        """(loss, its divisor)."""
        divisor = weights.sum() if self.averaged else weights.dtype.type(1)
        y = losses.sum() / divisor if self.reduced else losses.reshape(shape)
        return xp.asarray(y), xp.asarray(divisor)

    def reduction(self, x: Spec, *others: Any) -> int:
        return x.size

    @classmethod
    def common_cases(cls) -> Iterator[Case]:
        """All reductions with and without weights; ignored labels; refused inputs."""
        for reduced, averaged in ((True, True), (True, False), (False, False)):
            op = cls.of(reduced, averaged)
            name = "mean" if averaged else "sum" if reduced else "none"
            yield Case(name, op, lambda rng: rows(rng, (5,), 10))
            yield Case(f"{name}, weights", op, lambda rng: rows(rng, (35,), 7, weight=True))
        yield Case("by pixel", cls.of(True, True), lambda rng: rows(rng, (2, 3, 4), 5, weight=True))
        yield Case("one row", cls.of(True, True), lambda rng: rows(rng, (), 6))
        yield Case("one class", cls.of(True, True), lambda rng: rows(rng, (4,), 1))
        yield Case("empty, sum", cls.of(True, False), lambda rng: rows(rng, (0,), 3))
        yield Case("empty, none", cls.of(False, False), lambda rng: rows(rng, (0,), 3))
        yield Case("empty, mean", cls.of(True, True), lambda rng: rows(rng, (0,), 3))
        seven = cls.of(True, True, 7)
        yield Case("ignored", seven, lambda rng: rows(rng, (12,), 7, True, ignored=7))
        none = cls.of(True, False, 7)
        yield Case("all ignored", none, lambda rng: (logits(rng, (2, 9)), np.array([7, 7]), None))
        one = cls.of(True, True)
        yield Case(
            "label out of range",
            one,
            lambda rng: (logits(rng, (2, 3)), np.array([1, 3]), None),
            error="has the label 3; labels must be 0 to 2",
        )
        yield Case(
            "negative label",
            one,
            lambda rng: (logits(rng, (2, 3)), np.array([-1, 0]), None),
            error="has the label -1",
        )
        yield Case(
            "short target",
            one,
            lambda rng: (logits(rng, (2, 3)), np.zeros(3, np.int64), None),
            error=r"target has shape \(3,\)",
        )
        yield Case(
            "labels of int32",
            one,
            lambda rng: (logits(rng, (2, 3)), np.zeros(2, np.int32), None),
            error="labels must be int64",
        )
        yield Case(
            "short weight",
            one,
            lambda rng: (logits(rng, (1, 3)), np.zeros(1, np.int64), logits(rng, (2,))),
            error="weight has shape",
        )


def logits(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def rows(
    rng: np.random.Generator,
    labels: tuple[int, ...],
    classes: int,
    weight: bool = False,
    ignored: int | None = None,
) -> tuple[Array, Array, Array | None]:
    """(x, target, weight); every third label is `ignored`, if given."""
    target = np.asarray(rng.integers(0, classes, labels))
    if ignored is not None:
        target[::3] = ignored
    weights = rng.uniform(0.5, 2, classes).astype(np.float32) if weight else None
    return logits(rng, (*labels, classes)), target, weights
