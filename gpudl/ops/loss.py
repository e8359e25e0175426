"""Losses of pairs of equal shape: mse_loss, l1_loss, binary_cross_entropy_with_logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gpudl.op import Array, Case, Cost, Op, Spec, public, require, require_float
from gpudl.ops.class_loss_base import reduction_fields
from gpudl.tensor import Tensor, apply


class ElementLoss(Op):
    """What they share: x and target of one shape, and the reductions. A subclass gives the `losses`
    of the elements and the `slopes` along x and target.

    reduced: one number, the sum or, if averaged, the mean; else one number an element.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "target")
    saves: ClassVar[tuple[str, ...]] = ("x", "target")
    reduced: bool = True
    averaged: bool = True

    def infer(self, x: Spec, target: Spec, *others: Spec | None) -> tuple[Spec, ...]:
        require_float(self, x=x, target=target)
        require(
            x.shape == target.shape,
            self,
            "target",
            f"has shape {target.shape}, but x {x.shape}; they must be equal (use expand)",
        )
        return (Spec(() if self.reduced else x.shape, x.dtype),)

    @property
    def kind(self) -> str:
        return "mean" if self.averaged else "sum" if self.reduced else "none"

    def losses(self, xp: Any, *inputs: Any) -> Array:
        raise TypeError(f"{self.name} declares no losses")

    def slopes(self, xp: Any, saved: Any, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        raise TypeError(f"{self.name} declares no slopes")

    def forward(self, xp: Any, *inputs: Any) -> tuple[Array, ...]:
        losses = self.losses(xp, *inputs)
        if self.averaged:
            return (xp.asarray(losses.sum() / losses.dtype.type(losses.size)),)
        return (xp.asarray(losses.sum()) if self.reduced else losses,)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dy = dys[0] / saved.x.size if self.averaged else dys[0]
        slopes = self.slopes(xp, saved, needs)
        return tuple(None if slope is None else slope * dy for slope in slopes)

    def reduction(self, x: Spec, *others: Any) -> int:
        return x.size if self.reduced else 1

    @classmethod
    def common_cases(cls) -> Iterator[Case]:
        for reduced, averaged in ((True, True), (True, False), (False, False)):
            op = cls.of(reduced, averaged)
            for shape in ((3, 5), (2, 3, 4, 5), (0, 4), (1,), (3001,), ()):
                name = f"{op.kind} {'x'.join(map(str, shape))}"
                yield Case(name, op, lambda rng, s=shape: cls.draw(rng, s))
        mean = cls.of(True, True)
        yield Case("orders differ", mean, lambda rng: crossed(*cls.draw(rng, (4, 6))))
        none = cls.of(False, False)
        yield Case("orders differ, none", none, lambda rng: crossed(*cls.draw(rng, (4, 6))))
        yield Case(
            "shapes differ",
            mean,
            lambda rng: (*cls.draw(rng, (4, 1))[:1], *cls.draw(rng, (4, 6))[1:]),
            error=r"target has shape \(4, 6\), but x \(4, 1\)",
        )
        integers = np.arange(3)
        yield Case("integers", mean, lambda rng: (integers, integers), error="x is int64")

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, ...]:
        return tuple(np.asarray(rng.standard_normal(shape), np.float32) for _ in cls.inputs)


class Difference(ElementLoss):
    """Losses of d = x - target, with kernels."""

    kernels = ("flat",)

    def value(self, xp: Any, d: Array) -> Array:
        raise TypeError(f"{self.name} declares no value")

    def slope(self, xp: Any, d: Array) -> Array:
        raise TypeError(f"{self.name} declares no slope")

    def losses(self, xp: Any, *inputs: Any) -> Array:
        return self.value(xp, inputs[0] - inputs[1])

    def slopes(self, xp: Any, saved: Any, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        dx = self.slope(xp, saved.x - saved.target)
        return dx if needs[0] else None, -dx if needs[1] else None

    def workspace(self, direction: str, algorithm: str, *specs: Any) -> int:
        return 256 if direction == "forward" and self.reduced else 0

    def cost(self, x: Spec, target: Spec) -> Cost:
        moved = 2 * x.size + (1 if self.reduced else x.size)
        return Cost(3 * x.size, moved * x.dtype.itemsize)


class MseLossOp(Difference):
    """Mean, sum or each of (x - target)^2."""

    def value(self, xp: Any, d: Array) -> Array:
        return d * d

    def slope(self, xp: Any, d: Array) -> Array:
        return d * 2

    def twin(self, torch: Any, x: Any, target: Any) -> Any:
        return torch.nn.functional.mse_loss(x, target, reduction=self.kind)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.common_cases()
        x, target = np.array([1, 2], np.float32), np.array([3, 5], np.float32)
        yield Case("by hand", cls.of(), lambda rng: (x, target), golden=(np.float32(6.5),))
        odd = np.array([np.nan, np.inf, -np.inf, 1e15], np.float32)
        zero = np.zeros(4, np.float32)
        yield Case("special values", cls.of(False, False), lambda rng: (odd, zero))


class L1LossOp(Difference):
    """Mean, sum or each of |x - target|. The gradient where they are equal is 0."""

    def value(self, xp: Any, d: Array) -> Array:
        return xp.abs(d)

    def slope(self, xp: Any, d: Array) -> Array:
        return xp.sign(d)

    def twin(self, torch: Any, x: Any, target: Any) -> Any:
        return torch.nn.functional.l1_loss(x, target, reduction=self.kind)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.common_cases()
        x, target = np.array([1, 2], np.float32), np.array([3, 5], np.float32)
        yield Case("by hand", cls.of(), lambda rng: (x, target), golden=(np.float32(2.5),))


class BinaryCrossEntropyWithLogitsOp(ElementLoss):
    """loss = weight * ((1 - t) * x + s * log(1 + exp(-x))), s = 1 + (pos_weight - 1) * t: the
    cross-entropy of sigmoid(x) and t, without overflow. weight and pos_weight broadcast."""

    inputs = ("x", "target", "weight?", "pos_weight?")
    saves = ("x", "target", "weight", "pos_weight")
    constants = ("weight", "pos_weight")

    def infer(self, x: Spec, target: Spec, *others: Spec | None) -> tuple[Spec, ...]:
        outputs = super().infer(x, target)
        for name, spec in zip(self.inputs[2:], others, strict=True):
            if spec is not None:
                require_float(self, x=x, **{name: spec})
                fits = len(spec.shape) <= len(x.shape) and all(
                    a in (1, b) for a, b in zip(spec.shape[::-1], x.shape[::-1], strict=False)
                )
                require(fits, self, name, f"has shape {spec.shape}, which does not fit x {x.shape}")
        return outputs

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

    def twin(self, torch: Any, x: Any, target: Any, weight: Any, pos_weight: Any) -> Any:
        return torch.nn.functional.binary_cross_entropy_with_logits(
            x, target, weight, reduction=self.kind, pos_weight=pos_weight
        )

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Any, ...]:
        x = np.asarray(rng.standard_normal(shape) * 3, np.float32)
        return x, np.asarray(rng.uniform(0, 1, shape), np.float32), None, None

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from (c for c in cls.common_cases() if c.name != "integers")
        x, t = np.array([0, 100, -100], np.float32), np.array([1, 1, 1], np.float32)
        golden = (np.array([0.69314718055994529, 0, 100], np.float32),)
        each = cls.of(False, False)
        yield Case("by hand", each, lambda rng: (x, t, None, None), golden=golden)

        def weighted(rng: np.random.Generator) -> tuple[Array, ...]:
            per_class = rng.uniform(0.5, 3, (1, 5)).astype(np.float32)
            return *cls.draw(rng, (4, 5))[:2], per_class, per_class[0] * 2

        yield Case("weights", cls.of(True, True), weighted)
        short = np.ones(4, np.float32)
        yield Case(
            "short weight",
            each,
            lambda rng: (*cls.draw(rng, (4, 5))[:2], short, None),
            error="weight has shape",
        )


def crossed(x: Array, target: Array, *others: Any) -> tuple[Any, ...]:
    """The target in another order of memory."""
    return x, np.ascontiguousarray(target.T).T, *others


@public("functional")
def mse_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """(input - target)^2 of tensors of one shape; reduction: "mean", "sum" or "none"."""
    return apply(MseLossOp.of(*reduction_fields("mse_loss", reduction)), input, target)  # type: ignore[no-any-return]


@public("functional")
def l1_loss(input: Tensor, target: Tensor, reduction: str = "mean") -> Tensor:
    """|input - target| of tensors of one shape; reduction: "mean", "sum" or "none"."""
    return apply(L1LossOp.of(*reduction_fields("l1_loss", reduction)), input, target)  # type: ignore[no-any-return]


@public("functional")
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """The cross-entropy of sigmoid(input) and probabilities target, without overflow.

    weight: a factor for each element; pos_weight: one for the positive part of the target. Both
    broadcast to input's shape. reduction: "mean", "sum" or "none".
    """
    fields = reduction_fields("binary_cross_entropy_with_logits", reduction)
    op = BinaryCrossEntropyWithLogitsOp.of(*fields)
    return apply(op, input, target, weight, pos_weight)  # type: ignore[no-any-return]
