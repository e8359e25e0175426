"""Updates of parameters in place, for all of an optimizer's parameters at once (gpudl.optim uses
them).

param, grad and the state are flat arrays. hyper holds the numbers of the rule, in the order of the
class's `HYPER`, on the device: they change from step to step. active marks the elements to update
(uint8); without it all are. The penalties come first: g = grad + weight_decay·param +
l1·sign(param).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gpudl.core.op import Case, Cost, Op, Spec, require, require_float

CHUNK = 1 << 16  # elements that the NumPy form works on at a time: they stay in the cache


class UpdateRule(Op):
    """A rule param, state = f(param, gradient, state), elementwise."""

    outputs = ()
    kernels = ("flat",)
    cpu = ("chunked",)
    backward = None  # type: ignore[assignment]

    HYPER: ClassVar[tuple[str, ...]]
    FLOPS: ClassVar[int]  # of one element

    maximize: bool = False

    def infer(self, param: Spec, grad: Spec, hyper: Spec, active: Any, *state: Any) -> Any:
        arrays = dict(zip(self.inputs[4:], state, strict=True))
        require_float(self, param=param, grad=grad, hyper=hyper, **arrays)
        count = len(self.HYPER)
        require(
            hyper.shape == (count,),
            self,
            "hyper",
            f"is {hyper}; it must hold {count} numbers: {', '.join(self.HYPER)}",
        )
        require(len(param.shape) == 1, self, "param", f"is {param}; it must be flat")
        for name, spec in {"grad": grad, "active": active, **arrays}.items():
            fits = spec is None or spec.shape == param.shape
            require(fits, self, name, f"is {spec}; it must have param's shape {param.shape}")
        flags = active is None or active.dtype == np.uint8
        require(flags, self, "active", f"is {active}; it must be uint8")
        return ()

    def forward(
        self, xp: Any, param: Any, grad: Any, hyper: Any, active: Any, *state: Any
    ) -> tuple[Any, ...]:
        h = dict(zip(self.HYPER, hyper, strict=True))
        g = -grad if self.maximize else grad
        if h["weight_decay"] != 0:
            g = g + h["weight_decay"] * param
        if h["l1"] != 0:
            g = g + h["l1"] * xp.sign(param)
        values = self.rule(xp, param, g, h, *state)
        for target, value in zip((param, *state), values, strict=True):
            if target is not None:
                xp.copyto(target, value, where=True if active is None else active != 0)
        return ()

    def forward_chunked(
        self, xp: Any, param: Any, grad: Any, hyper: Any, active: Any, *state: Any
    ) -> tuple[Any, ...]:
        """The same in pieces that the cache holds, without temporaries where the rule has such a
        form."""
        h = dict(zip(self.HYPER, hyper, strict=True))
        spare = np.empty((2, min(CHUNK, len(param))), param.dtype)
        plain = active is None and h["l1"] == 0 and not self.maximize
        for start in range(0, len(param), CHUNK):
            part = slice(start, start + CHUNK)
            arrays: list[Any] = [
                None if a is None else a[part] for a in (param, grad, active, *state)
            ]
            two = spare[0, : arrays[0].size], spare[1, : arrays[0].size]
            if not plain or not self.in_place(two, arrays[0], arrays[1], h, *arrays[3:]):
                self.forward(xp, arrays[0], arrays[1], hyper, *arrays[2:])
        return ()

    def in_place(
        self, spare: tuple[Any, Any], param: Any, grad: Any, h: dict[str, Any], *state: Any
    ) -> bool:
        """Do what forward does with NumPy, with two spare arrays; or change nothing and say no."""
        return False

    def rule(self, xp: Any, param: Any, g: Any, h: dict[str, Any], *state: Any) -> tuple[Any, ...]:
        """New values of param and of each state (None for absent ones)."""
        raise TypeError(f"{self.name}: declares no rule")

    def cost(self, param: Spec, grad: Spec, hyper: Spec, active: Any, *state: Any) -> Cost:
        arrays = 3 + 2 * sum(s is not None for s in state)  # param and state are read and written
        return Cost(self.FLOPS * param.size, arrays * param.size * param.dtype.itemsize)

    @classmethod
    def drawn(
        cls,
        op: Op,
        hyper: tuple[float, ...],
        n: int,
        masked: bool,
        present: int,
        remark: str = "",
    ) -> Case:
        """A case of n elements; `present` states of the rule's are given, the others are absent."""

        def make(rng: np.random.Generator) -> tuple[Any, ...]:
            # States in [1, 2) fit all rules: a mean square must exceed the squared mean.
            given = [1 + rng.random(n) for _ in range(present)]
            if "grad_avg" in cls.inputs and present > 1:
                given[1] -= 1
            state = given + [None] * (len(cls.inputs) - 4 - present)
            floats = [rng.standard_normal(n), rng.standard_normal(n), np.array(hyper)]
            active = rng.integers(0, 2, n).astype(np.uint8) if masked else None
            arrays = [*floats, None, *state]
            drawn = [None if a is None else a.astype(np.float32) for a in arrays]
            return (*drawn[:3], active, *drawn[4:])

        name = f"{op}, {n} elements, {present} states{', masked' if masked else ''}{remark}"
        return Case(name, op, make)

    @classmethod
    def grid(cls, fields: Any, hypers: Any, states: Any) -> Iterator[Case]:
        """Cases for every combination of fields, numbers and count of states."""
        for values in fields:
            for i, hyper in enumerate(hypers):
                remark = ", other numbers" if i else ""
                for present in states:
                    yield cls.drawn(cls.of(*values), hyper, 300, True, present, remark)
        for n in (0, 1):
            yield cls.drawn(cls.of(), hypers[0], n, False, max(states))
        yield cls.drawn(cls.of(), hypers[0], CHUNK + 77, False, max(states))
        wrong = cls.drawn(cls.of(), hypers[0][1:], 3, False, max(states))
        yield Case("too few numbers", wrong.op, wrong.make, error=f"{cls.name}: hyper is float32")


def decayed(spare: Any, param: Any, grad: Any, h: dict[str, Any]) -> Any:
    """grad + weight_decay·param, in the spare array if need be."""
    if h["weight_decay"] == 0:
        return grad
    np.multiply(param, h["weight_decay"], out=spare)
    spare += grad
    return spare


def root(xp: Any, x: Any, eps: Any, inside: bool) -> Any:
    return xp.sqrt(x + eps) if inside else xp.sqrt(x) + eps
