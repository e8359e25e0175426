"""Updates of parameters in place, for all parameters of an optimizer at once (used by
gpudl.optim).

param, grad and the states are flat arrays. Or they are memory that holds many parameters with their
gradients and states, which the tables `rows` and `blocks` (gpudl.ops.optimizer.blocks) locate.
hyper holds sets of the rule's numbers, in the order of the class's `HYPER`, on the device, because
they change from step to step. The penalties come first: g = grad + weight_decay·param +
l1·sign(param).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from gpudl.core.op import Case, Cost, Op, Spec, require, require_float
from gpudl.ops.optimizer.blocks import require_blocks

CHUNK = 1 << 16  # elements that the NumPy form updates at a time; they stay in the cache

SET = 2  # the column of rows with the index of the set of numbers


class UpdateRule(Op):
    """A rule param, state = f(param, gradient, state), elementwise."""

    outputs = ()
    kernels = ("flat",)
    cpu = ("chunked",)
    backward = None  # type: ignore[assignment]

    HYPER: ClassVar[tuple[str, ...]]
    FLOPS: ClassVar[int]  # per element
    FIRST_STATE: ClassVar[int] = 5  # index of the input after param, grad, hyper, rows and blocks

    maximize: bool = False

    def infer(
        self, param: Spec, grad: Spec, hyper: Spec, rows: Any, blocks: Any, *state: Any
    ) -> Any:
        arrays = dict(zip(self.inputs[self.FIRST_STATE :], state, strict=True))
        require_float(self, param=param, grad=grad, hyper=hyper, **arrays)
        count = len(self.HYPER)
        require(
            len(hyper.shape) == 2 and hyper.shape[1] == count,
            self,
            "hyper",
            f"is {hyper}; it must hold sets of {count} numbers: {', '.join(self.HYPER)}",
        )
        require_blocks(self, rows, blocks, 3 + sum(s is not None for s in state))
        for name, spec in {"param": param, "grad": grad, **arrays}.items():
            flat = spec is None or len(spec.shape) == 1
            require(flat, self, name, f"is {spec}; it must be flat")
            fits = spec is None or rows is not None or spec.shape == param.shape
            require(fits, self, name, f"is {spec}; it must have param's shape {param.shape}")
        return ()

    def forward(
        self, xp: Any, param: Any, grad: Any, hyper: Any, rows: Any, blocks: Any, *state: Any
    ) -> tuple[Any, ...]:
        if rows is None:
            self.change(xp, param, grad, hyper[0], *state)
            return ()
        for number, first, count in blocks:
            at_param, at_grad, numbers, *at_state = rows[number] + first * (
                np.arange(rows.shape[1]) != SET
            )
            starts = iter(at_state)
            parts = [None if a is None else a[(at := next(starts)) : at + count] for a in state]
            p, g = param[at_param : at_param + count], grad[at_grad : at_grad + count]
            self.change(xp, p, g, hyper[numbers], *parts)
        return ()

    def change(self, xp: Any, param: Any, grad: Any, numbers: Any, *state: Any) -> None:
        """Update these elements, all with the same set of numbers."""
        h = dict(zip(self.HYPER, numbers, strict=True))
        g = -grad if self.maximize else grad
        if h["weight_decay"] != 0:
            g = g + h["weight_decay"] * param
        if h["l1"] != 0:
            g = g + h["l1"] * xp.sign(param)
        values = self.rule(xp, param, g, h, *state)
        for target, value in zip((param, *state), values, strict=True):
            if target is not None:
                target[...] = value

    def forward_chunked(
        self, xp: Any, param: Any, grad: Any, hyper: Any, rows: Any, blocks: Any, *state: Any
    ) -> tuple[Any, ...]:
        """forward() in pieces that fit in the cache, without temporaries if the rule defines
        in_place()."""
        if rows is not None:
            return self.forward(xp, param, grad, hyper, rows, blocks, *state)
        self.over(xp, [(param, grad, hyper[0], state)])
        return ()

    def over(self, xp: Any, arrays: Iterable[tuple[Any, Any, Any, Sequence[Any]]]) -> None:
        """Update flat arrays one after the other: for each the parameter, the gradient, the numbers
        and the states."""
        spare, h, known = None, {}, None
        for param, grad, numbers, state in arrays:
            if spare is None or spare[0].size < min(CHUNK, param.size):
                spare = np.empty((2, min(CHUNK, param.size)), param.dtype)
            if numbers is not known:
                known, h = numbers, dict(zip(self.HYPER, numbers, strict=True))
                plain = h["l1"] == 0 and not self.maximize
            for start in range(0, param.size, CHUNK):
                p, g, parts = param, grad, state
                if param.size > CHUNK:
                    part = slice(start, start + CHUNK)
                    p, g = param[part], grad[part]
                    parts = [None if a is None else a[part] for a in state]
                two = spare[0, : p.size], spare[1, : p.size]
                if not plain or not self.in_place(two, p, g, h, *parts):
                    self.change(xp, p, g, numbers, *parts)

    def in_place(
        self, spare: tuple[Any, Any], param: Any, grad: Any, h: dict[str, Any], *state: Any
    ) -> bool:
        """Update with NumPy and two spare arrays and return True, or return False, unchanged."""
        return False

    def rule(self, xp: Any, param: Any, g: Any, h: dict[str, Any], *state: Any) -> tuple[Any, ...]:
        """The new values of param and of each state (None if absent)."""
        raise TypeError(f"{self.name}: declares no rule")

    def cost(
        self, param: Spec, grad: Spec, hyper: Spec, rows: Any, blocks: Any, *state: Any
    ) -> Cost:
        arrays = 3 + 2 * sum(s is not None for s in state)  # param and state are read and written
        return Cost(self.FLOPS * param.size, arrays * param.size * param.dtype.itemsize)

    @classmethod
    def drawn(
        cls,
        op: Op,
        hyper: Any,
        n: int,
        present: int,
        tables: Any = None,
        remark: str = "",
    ) -> Case:
        """A case of n elements with the first `present` states of the rule; the others are absent.
        hyper: one or several sets of numbers. tables: rows and blocks."""

        def make(rng: np.random.Generator) -> tuple[Any, ...]:
            # States in [1, 2) suit all rules: a mean square must exceed the squared mean.
            given = [1 + rng.random(n) for _ in range(present)]
            if "grad_avg" in cls.inputs and present > 1:
                given[1] -= 1
            state = given + [None] * (len(cls.inputs) - cls.FIRST_STATE - present)
            floats = [rng.standard_normal(n), rng.standard_normal(n), np.array(hyper, ndmin=2)]
            first, then = (
                [None if a is None else np.float32(a) for a in b] for b in (floats, state)
            )
            return (*first, *(tables or (None, None)), *then)

        return Case(f"{op}, {n} elements, {present} states{remark}", op, make)

    @classmethod
    def scattered(cls, op: Op, hyper: Any, present: int, remark: str = "") -> Case:
        """Three parameters of 150, 1 and 37 elements in memory with gaps, the last one with
        different numbers; some are aligned to 16 bytes. The gaps must not change."""
        rows = np.zeros((3, 3 + present), np.int64)
        rows[:, 0] = 8, 161, 204
        rows[:, 1] = 0, 160, 171
        rows[:, 2] = 0, 0, 1
        rows[:, 3:] = 32 * np.arange(present) % 48 + np.array([[0], [153], [160]])
        blocks = np.array([(0, 0, 64), (0, 64, 64), (0, 128, 22), (2, 0, 37), (1, 0, 1)], np.int32)
        other = np.array(hyper) * np.where(np.array(cls.HYPER) == "first", 0, 0.5)
        tables = rows, blocks
        return cls.drawn(op, [hyper, other], 300, present, tables, f", scattered{remark}")

    @classmethod
    def grid(cls, fields: Any, hypers: Any, states: Any) -> Iterator[Case]:
        """Cases for all combinations of fields, sets of numbers and counts of states."""
        for values in fields:
            for i, hyper in enumerate(hypers):
                remark = ", other numbers" if i else ""
                for present in states:
                    yield cls.scattered(cls.of(*values), hyper, present, remark)
        for n in (0, 1, CHUNK + 77):
            yield cls.drawn(cls.of(), hypers[0], n, max(states))
        wrong = cls.drawn(cls.of(), hypers[0][1:], 3, max(states))
        yield Case("too few numbers", wrong.op, wrong.make, error=f"{cls.name}: hyper is float32")
        narrow = np.zeros((1, 2), np.int64), np.zeros((1, 3), np.int32)
        wrong = cls.drawn(cls.of(), hypers[0], 3, max(states), narrow)
        yield Case("narrow rows", wrong.op, wrong.make, error=f"{cls.name}: rows is int64")


def decayed(spare: Any, param: Any, grad: Any, h: dict[str, Any]) -> Any:
    """grad + weight_decay·param, in the spare array if needed."""
    if h["weight_decay"] == 0:
        return grad
    np.multiply(param, h["weight_decay"], out=spare)
    spare += grad
    return spare


def root(xp: Any, x: Any, eps: Any, inside: bool) -> Any:
    return xp.sqrt(x + eps) if inside else xp.sqrt(x) + eps
