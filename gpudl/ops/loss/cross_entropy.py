"""Classification losses: cross_entropy from logits, nll_loss from log-probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Array, Case, Cost, Spec, is_floating, require
from gpudl.core.public import public
from gpudl.ops.loss.classes_base import IGNORED, ClassLoss, logits, rows
from gpudl.ops.loss.probabilities import CrossEntropyProbabilitiesOp
from gpudl.ops.loss.reduction import reduction_fields, reduction_of


class CrossEntropyOp(ClassLoss):
    """With p = softmax(x), label t, weights w (by default 1) and e = label_smoothing:

    loss = -(1 - e) * w[t] * log p[t] - e/C * sum over c of w[c] * log p[c], and 0 for ignored
    labels. The mean divides by the sum of w[t]. lse: log(sum(exp(x))) of each row, for backward.
    """

    outputs = ("y", "lse", "divisor")
    saves = ("x", "target", "weight", "lse", "divisor")
    kernels = ("rows",)
    label_smoothing: float = 0.0

    def infer(self, x: Spec, target: Spec, weight: Spec | None = None) -> tuple[Spec, ...]:
        smooth = self.label_smoothing
        require(0 <= smooth <= 1, self, "label_smoothing", f"is {smooth}; it must be from 0 to 1")
        y = self.infer_loss(x, target, weight)
        return y, Spec(target.shape, x.dtype), Spec((), x.dtype)

    def cost(self, x: Spec, target: Spec, weight: Spec | None = None) -> Cost:
        return Cost(4 * x.size, x.size * x.dtype.itemsize + target.size * (8 + x.dtype.itemsize))

    def forward(self, xp: Any, x: Array, target: Array, weight: Any = None) -> tuple[Array, ...]:
        x_rows = x.reshape(-1, x.shape[-1])
        counts, label = self.labels(xp, target, x.shape[-1])
        top = x_rows.max(-1)
        top = xp.where(top == -np.inf, 0, top).astype(x.dtype, copy=False)  # lse is then -inf too
        lse = top + xp.log(xp.exp(x_rows - top[:, None]).sum(-1))
        weights = (counts if weight is None else weight[label] * counts).astype(x.dtype)
        losses = lse - x_rows[xp.arange(len(label)), label]
        losses *= weights
        if self.label_smoothing:
            below = lse[:, None] - x_rows
            spread = (below if weight is None else below * weight).sum(-1)
            losses *= 1 - self.label_smoothing
            losses += self.label_smoothing / x.shape[-1] * spread
        if not counts.all():
            losses = xp.where(counts, losses, 0)
        y, divisor = self.reduce(xp, losses, weights, target.shape)
        return y, lse.reshape(target.shape), divisor

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy, dlse = dys[0], dys[1]
        classes, weight, smooth = saved.x.shape[-1], saved.weight, self.label_smoothing
        counts, label = self.labels(xp, saved.target, classes)
        p = xp.exp(saved.x.reshape(-1, classes) - saved.lse.reshape(-1, 1))
        on_label = (counts if weight is None else weight[label] * counts).astype(p.dtype)
        on_label *= 1 - smooth
        even = (
            counts[:, None] * (smooth / classes) * (xp.ones(classes) if weight is None else weight)
        )
        even = even.astype(p.dtype)
        scale = xp.where(counts, dy.reshape(-1) / saved.divisor, 0)[:, None]
        pull = scale * (on_label[:, None] + even.sum(-1, keepdims=True))
        dx = p * (pull if dlse is None else pull + dlse.reshape(-1, 1))
        dx[xp.arange(len(label)), label] -= scale[:, 0] * on_label
        if smooth:
            dx -= scale * even
        return dx.reshape(saved.x.shape), None, None

    def twin(self, torch: Any, x: Any, target: Any, weight: Any) -> Any:
        kind = "mean" if self.averaged else "sum" if self.reduced else "none"
        return torch.nn.functional.cross_entropy(
            x.movedim(-1, 1) if x.ndim > 1 else x,
            target,
            weight,
            ignore_index=self.ignore_index,
            reduction=kind,
            label_smoothing=self.label_smoothing,
        )

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.common_cases()
        for width in (36, 33, 1000, 1001, 2052):
            yield Case(f"{width} classes", cls.of(), lambda rng, w=width: rows(rng, (3,), w))
        yield Case("many rows", cls.of(), lambda rng: rows(rng, (300,), 31, True))
        early = np.array([[-np.inf] * 8 + [1, 2, 3, 4]] * 2, np.float32)
        yield Case("-inf first", cls.of(), lambda rng: (early, np.array([9, 8]), None))
        smooth = cls.of(True, True, 2, 0.1)
        yield Case("smooth", smooth, lambda rng: rows(rng, (9,), 5, ignored=2))
        yield Case("smooth, weights", smooth, lambda rng: rows(rng, (9,), 5, True, ignored=2))
        plain = cls.of(False, False, IGNORED, 0.3)
        yield Case("smooth, none", plain, lambda rng: rows(rng, (9,), 40, True))
        x = np.array([[1, 2, 3], [0, 0, 0]], np.float32)
        target = np.array([2, 0])
        first, log3 = 0.40760596444438046, 1.0986122886681098
        golden = (np.float32((first + log3) / 2),)
        yield Case("by hand", cls.of(), lambda rng: (x, target, None), golden=golden)
        yield Case("large", cls.of(), lambda rng: (logits(rng, (6, 8)) * 1e4, np.arange(6), None))
        odd = np.array([[np.nan, 0, 1], [np.inf, 0, 1], [-np.inf, 0, 1], [-np.inf] * 3], np.float32)
        none = cls.of(False, False)
        yield Case("special values", none, lambda rng: (odd, np.array([0, 1, 0, 1]), None))
        steep = cls.of(True, True, IGNORED, 1.5)
        yield Case(
            "smoothing 1.5", steep, lambda rng: rows(rng, (2,), 3), error="it must be from 0 to 1"
        )


class NllLossOp(ClassLoss):
    """loss = -w[t] * x[t] for log-probabilities x, and 0 for ignored labels. The mean divides by
    the sum of w[t]."""

    outputs = ("y", "divisor")
    saves = ("target", "weight", "divisor")
    kernels = ("rows",)

    def infer(self, x: Spec, target: Spec, weight: Spec | None = None) -> tuple[Spec, ...]:
        return self.infer_loss(x, target, weight), Spec((), x.dtype)

    def forward(self, xp: Any, x: Array, target: Array, weight: Any = None) -> tuple[Array, ...]:
        counts, label = self.labels(xp, target, x.shape[-1])
        weights = (counts if weight is None else weight[label] * counts).astype(x.dtype)
        picked = x.reshape(-1, x.shape[-1])[xp.arange(label.size), label]
        return self.reduce(xp, xp.where(counts, -picked * weights, 0), weights, target.shape)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        shape, weight = saved.specs[0].shape, saved.weight
        counts, label = self.labels(xp, saved.target, shape[-1])
        factor = 1 if weight is None else weight[label]
        dx = xp.zeros((label.size, shape[-1]), dys[0].dtype)
        scale = dys[0].reshape(-1) / saved.divisor
        dx[xp.arange(label.size), label] = xp.where(counts, -factor * scale, 0)
        return dx.reshape(shape), None, None

    def cost(self, x: Spec, target: Spec, weight: Spec | None = None) -> Cost:
        return Cost(2 * target.size, target.size * (8 + x.dtype.itemsize))

    def twin(self, torch: Any, x: Any, target: Any, weight: Any) -> Any:
        kind = "mean" if self.averaged else "sum" if self.reduced else "none"
        return torch.nn.functional.nll_loss(
            x.movedim(-1, 1).contiguous() if x.ndim > 1 else x,
            target,
            weight,
            ignore_index=self.ignore_index,
            reduction=kind,
        )

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.common_cases()
        yield Case("many rows", cls.of(), lambda rng: rows(rng, (9001,), 3, True))
        x = np.log(np.array([[0.5, 0.25], [0.25, 0.5]], np.float32))
        golden = (np.array([-x[0, 0], -x[1, 0]]), np.float32(1))
        none = cls.of(False, False)
        yield Case("by hand", none, lambda rng: (x, np.array([0, 0]), None), golden=golden)


def classes_last(input: Tensor) -> Tensor:
    """(N, C, d1, …) -> (N, d1, …, C)."""
    return input if input.ndim <= 2 else cast(Any, input).movedim(1, -1)


@public("functional")
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = IGNORED,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[target], in nats.

    input: logits (N, C), (N, C, d1, …) or (C); target: int64 labels (N), (N, d1, …) or (), or class
    probabilities in input's shape. weight: (C), a factor per class. reduction: "mean" (for labels
    weighted by their classes, for probabilities a plain mean over rows), "sum" or "none".
    ignore_index: the label to ignore. label_smoothing: the share of the target spread evenly over
    all classes (Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7).
    Raises IndexError for a label out of range on cpu and emulator; on cuda it makes the loss of its
    row NaN.
    """
    reduction = reduction_of("cross_entropy", size_average, reduce, reduction)
    fields = reduction_fields("cross_entropy", reduction)
    if is_floating(target.dtype):
        if ignore_index != IGNORED:
            raise ValueError(
                "cross_entropy: ignore_index needs labels, but target holds probabilities; leave "
                "it at its default"
            )
        mixed = CrossEntropyProbabilitiesOp.of(*fields, float(label_smoothing))
        made = apply(mixed, classes_last(input), classes_last(target), weight)
        return made[0]  # type: ignore[no-any-return]
    op = CrossEntropyOp.of(*fields, int(ignore_index), float(label_smoothing))
    return _of_labels(op, input, target, weight)


@public("functional")
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = IGNORED,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-input[target] for log-probabilities, such as those of log_softmax.

    Shapes, weight, reduction and errors as in cross_entropy; target must be labels.
    """
    reduction = reduction_of("nll_loss", size_average, reduce, reduction)
    fields = (*reduction_fields("nll_loss", reduction), int(ignore_index))
    return _of_labels(NllLossOp.of(*fields), input, target, weight)


def _of_labels(op: ClassLoss, input: Tensor, target: Tensor, weight: Tensor | None) -> Tensor:
    """The loss. Labels on the emulator are checked here, since that needs no wait for a GPU."""
    x = classes_last(input)
    if target.device.name == "emulator" and target.dtype == np.int64 and x.ndim > 0:
        op.labels(np, target.array, x.shape[-1])
    return apply(op, x, target, weight)[0]  # type: ignore[no-any-return]
