"""Bases of elementwise losses of (x, target): reductions and test cases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gpudl.core.op import Array, Case, Cost, Op, Spec, require, require_float
from gpudl.ops.elementwise.quick_numpy import in_pieces, quick, sum_in_pieces


def _hint(x: Spec, target: Spec) -> str:
    """How to make the shapes equal: (32, 1) and (32,) usually mean the same values."""
    for longer, shorter, name in ((x, target, "x"), (target, x, "target")):
        if longer.shape[:-1] == shorter.shape and longer.shape[-1:] == (1,):
            return f"use {name}.squeeze({len(longer.shape) - 1})"
    return "use expand"


class ElementLoss(Op):
    """A loss of x and target of equal shape. A subclass defines the `losses` of the elements and
    their derivatives, the `slopes`, by x and target.

    reduced: return one number, the sum or, if averaged, the mean; else one number per element.
    """

    kernels = ("flat",)
    cpu: ClassVar[tuple[str, ...]] = ("pieces",)
    FLOPS: ClassVar[int] = 3  # per element; exponentials and logarithms count as 8
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
            f"has shape {target.shape}, but x {x.shape}; they must be equal ({_hint(x, target)})",
        )
        for name, spec in zip(self.inputs[2:], others, strict=True):
            if spec is not None:
                require_float(self, x=x, **{name: spec})
                fits = spec.shape == x.shape
                require(fits, self, name, f"has shape {spec.shape}; it must be x's, {x.shape}")
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

    def forward_pieces(self, xp: Any, *inputs: Any) -> tuple[Array, ...]:
        if not self.reduced:
            return in_pieces(lambda *parts: (self.losses(quick, *parts),), inputs)
        total = sum_in_pieces(lambda *parts: self.losses(quick, *parts), inputs)
        return (np.asarray(total / total.dtype.type(inputs[0].size) if self.averaged else total),)

    def backward_pieces(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        factor = dys[0] / saved.x.size if self.averaged else dys[0]

        def gradients(*arrays: Any) -> tuple[Any, ...]:
            part = saved._replace(**dict(zip(self.saves, arrays, strict=False)))
            dy = factor if self.reduced else arrays[-1]
            slopes = self.slopes(quick, part, needs)
            return tuple(None if slope is None else slope * dy for slope in slopes)

        return in_pieces(gradients, (*saved[:-1], *(() if self.reduced else dys)))

    def cost(self, x: Spec, *others: Spec | None) -> Cost:
        read = 1 + sum(s is not None for s in others)
        moved = read * x.size + (1 if self.reduced else x.size)
        return Cost(self.FLOPS * x.size, moved * x.dtype.itemsize)

    def reduction(self, x: Spec, *others: Any) -> int:
        return x.size if self.reduced else 1

    def twin(self, torch: Any, x: Any, target: Any) -> Any:
        options = {k: v for k, v in self.parameters().items() if k not in ("reduced", "averaged")}
        function = getattr(torch.nn.functional, self.name)
        return function(x, target, reduction=self.kind, **options)

    @classmethod
    def common_cases(cls) -> Iterator[Case]:
        """All reductions; sums by one block and by many; both memory orders."""
        mean, none = cls.of(True, True), cls.of(False, False)
        for shape in ((2, 3, 4, 5), (0, 4), (1,), (3001,), (41, 401), ()):
            name = "x".join(map(str, shape))
            yield Case(f"mean {name}", mean, lambda rng, s=shape: cls.draw(rng, s))
        yield Case("orders differ", mean, lambda rng: crossed(*cls.draw(rng, (4, 6))))
        yield Case("orders differ, none", none, lambda rng: crossed(*cls.draw(rng, (4, 6))))
        yield Case("unaligned", mean, lambda rng: tuple(a[1:] for a in cls.draw(rng, (11003,))))
        yield from cls.few_cases()
        yield Case(
            "shapes differ",
            mean,
            lambda rng: (*cls.draw(rng, (4, 1))[:1], *cls.draw(rng, (4, 6))[1:]),
            error=r"target has shape \(4, 6\), but x \(4, 1\); they must be equal",
        )
        integers = np.arange(3)
        yield Case("integers", mean, lambda rng: (integers, integers), error="x is int64")

    @classmethod
    def few_cases(cls, *options: Any) -> Iterator[Case]:
        """All reductions, with these options instead of the defaults if given."""
        for reduced, averaged in ((True, True), (True, False), (False, False)):
            op = cls.of(reduced, averaged, *options)
            name = " ".join([op.kind, *map(str, options)])
            yield Case(name, op, lambda rng: cls.draw(rng, (13, 7)))

    @classmethod
    def draw(cls, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, ...]:
        """x and target; other inputs are absent."""
        two = [np.asarray(rng.standard_normal(shape), np.float32) for _ in range(2)]
        return (*two, *(None,) * (len(cls.inputs) - 2))


class PairLoss(ElementLoss):
    """A subclass defines the loss of a pair and its derivatives."""

    def value(self, xp: Any, x: Any, t: Any) -> Any:
        raise TypeError(f"{self.name} declares no value")

    def dx(self, xp: Any, x: Any, t: Any) -> Any:
        raise TypeError(f"{self.name} declares no dx")

    def dt(self, xp: Any, x: Any, t: Any) -> Any:
        raise TypeError(f"{self.name} declares no dt")

    def losses(self, xp: Any, *inputs: Any) -> Array:
        return self.value(xp, inputs[0], inputs[1])

    def slopes(self, xp: Any, saved: Any, needs: tuple[bool, ...]) -> tuple[Array | None, ...]:
        return (
            self.dx(xp, saved.x, saved.target) if needs[0] else None,
            self.dt(xp, saved.x, saved.target) if needs[1] else None,
        )


class Difference(PairLoss):
    """A loss of d = x - target. A subclass defines `of_difference` and its derivative `slope`."""

    def of_difference(self, xp: Any, d: Any) -> Any:
        raise TypeError(f"{self.name} declares no of_difference")

    def slope(self, xp: Any, d: Any) -> Any:
        raise TypeError(f"{self.name} declares no slope")

    def value(self, xp: Any, x: Any, t: Any) -> Any:
        return self.of_difference(xp, x - t)

    def dx(self, xp: Any, x: Any, t: Any) -> Any:
        return self.slope(xp, x - t)

    def dt(self, xp: Any, x: Any, t: Any) -> Any:
        return -self.slope(xp, x - t)


def crossed(x: Array, target: Array, *others: Any) -> tuple[Any, ...]:
    """The target in another memory order."""
    return x, np.ascontiguousarray(target.T).T, *others


def by_hand(op: Op, x: Any, target: Any, golden: Any) -> Case:
    """A case whose result was computed by hand or by another program."""
    given = [np.array(a, np.float32) for a in (x, target)]
    absent = (None,) * (len(op.inputs) - 2)
    want = (np.array(golden, np.float32),)
    name = f"by hand {' '.join(map(str, op.parameters().values()))}"
    return Case(name, op, lambda rng: (*given, *absent), golden=want)
