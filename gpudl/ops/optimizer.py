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

from gpudl.op import Case, Cost, Op, Spec, require, require_float

CHUNK = 1 << 15  # elements that the NumPy form works on at a time: they stay in the cache


class Update(Op):
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
        """The same in pieces that the cache holds."""
        for start in range(0, len(param), CHUNK):
            part = slice(start, start + CHUNK)
            arrays = [None if a is None else a[part] for a in (param, grad, active, *state)]
            self.forward(xp, arrays[0], arrays[1], hyper, *arrays[2:])
        return ()

    def rule(self, xp: Any, param: Any, g: Any, h: dict[str, Any], *state: Any) -> tuple[Any, ...]:
        """New values of param and of each state (None for absent ones)."""
        raise TypeError(f"{self.name}: declares no rule")

    def cost(self, param: Spec, grad: Spec, hyper: Spec, active: Any, *state: Any) -> Cost:
        arrays = 3 + 2 * sum(s is not None for s in state)  # param and state are read and written
        return Cost(self.FLOPS * param.size, arrays * param.size * param.dtype.itemsize)

    @classmethod
    def drawn(cls, op: Op, hyper: tuple[float, ...], n: int, masked: bool, present: int) -> Case:
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

        name = f"{op}, {n} elements, {present} states{', masked' if masked else ''}"
        return Case(name, op, make)

    @classmethod
    def grid(cls, fields: Any, hypers: Any, states: Any) -> Iterator[Case]:
        """Cases for every combination of fields, numbers and count of states."""
        for values in fields:
            for hyper in hypers:
                for present in states:
                    yield cls.drawn(cls.of(*values), hyper, 300, True, present)
        for n in (0, 1):
            yield cls.drawn(cls.of(), hypers[0], n, False, max(states))
        yield cls.drawn(cls.of(), hypers[0], CHUNK + 77, False, max(states))
        wrong = cls.drawn(cls.of(), hypers[0][1:], 3, False, max(states))
        yield Case("too few numbers", wrong.op, wrong.make, error=f"{cls.name}: hyper is float32")


class SgdOp(Update):
    """buffer = momentum·buffer + keep·g (g itself at first); param -= lr·buffer, or without a
    buffer lr·g, or with nesterov lr·(g + momentum·buffer).

    velocity: the lectures' form, v = momentum·v - lr·keep·g; param += v, or with nesterov
    (Sutskever, Martens, Dahl, Hinton 2013, in the shifted variable) param += v + momentum·(v -
    v_before).
    """

    inputs = ("param", "grad", "hyper", "active?", "momentum_buffer?")
    mutates = ("param", "momentum_buffer")
    HYPER = ("weight_decay", "l1", "lr", "momentum", "keep", "first")
    FLOPS = 6

    nesterov: bool = False
    velocity: bool = False

    def rule(self, xp: Any, param: Any, g: Any, h: dict[str, Any], *state: Any) -> tuple[Any, ...]:
        (buffer,) = state
        if buffer is None:
            return param - h["lr"] * g, None
        first, momentum = h["first"] != 0, h["momentum"]
        if self.velocity:
            before = 0 * buffer if first else buffer
            v = momentum * before - h["lr"] * h["keep"] * g
            return (param + (v + momentum * (v - before)) if self.nesterov else param + v), v
        b = g if first else momentum * buffer + h["keep"] * g
        return param - h["lr"] * (g + momentum * b if self.nesterov else b), b

    @classmethod
    def cases(cls) -> Iterator[Case]:
        fields = [(m, n, v) for m in (False, True) for n in (False, True) for v in (False, True)]
        hypers = [(0.1, 0.02, 0.3, 0.9, 0.5, 0), (0, 0, 0.3, 0.9, 1, 1)]
        yield from cls.grid(fields, hypers, (0, 1))


class AdagradOp(Update):
    """sum += g²; param -= lr·g/(sqrt(sum) + eps), or with eps_inside lr·g/sqrt(sum + eps).

    Duchi, Hazan, Singer 2011.
    """

    inputs = ("param", "grad", "hyper", "active?", "sum")
    mutates = ("param", "sum")
    HYPER = ("weight_decay", "l1", "lr", "eps")
    FLOPS = 7

    eps_inside: bool = False

    def rule(self, xp: Any, param: Any, g: Any, h: dict[str, Any], *state: Any) -> tuple[Any, ...]:
        total = state[0] + g * g
        return param - h["lr"] * (g / root(xp, total, h["eps"], self.eps_inside)), total

    @classmethod
    def cases(cls) -> Iterator[Case]:
        fields = [(False, False), (True, True)]
        yield from cls.grid(fields, [(0.1, 0.02, 0.3, 1e-3), (0, 0, 0.3, 1e-10)], (1,))


class RmspropOp(Update):
    """square_avg = alpha·square_avg + rest·g²; step = g/(sqrt(square_avg) + eps); with a momentum
    buffer step = buffer = momentum·buffer + step; param -= lr·step. rest = 1 - alpha.

    With grad_avg (Graves 2013, eq. 40) the square root is of square_avg - grad_avg², grad_avg the
    same mean of g. eps_inside: sqrt(… + eps). Tieleman and Hinton 2012, lecture 6e.
    """

    inputs = ("param", "grad", "hyper", "active?", "square_avg", "grad_avg?", "momentum_buffer?")
    mutates = ("param", "square_avg", "grad_avg", "momentum_buffer")
    HYPER = ("weight_decay", "l1", "lr", "alpha", "rest", "eps", "momentum")
    FLOPS = 12

    eps_inside: bool = False

    def rule(self, xp: Any, param: Any, g: Any, h: dict[str, Any], *state: Any) -> tuple[Any, ...]:
        square_avg, grad_avg, buffer = state
        square = spread = h["alpha"] * square_avg + h["rest"] * (g * g)
        if grad_avg is not None:
            grad_avg = grad_avg + h["rest"] * (g - grad_avg)
            spread = square - grad_avg * grad_avg
        step = g / root(xp, spread, h["eps"], self.eps_inside)
        if buffer is not None:
            step = buffer = h["momentum"] * buffer + step
        return param - h["lr"] * step, square, grad_avg, buffer

    @classmethod
    def cases(cls) -> Iterator[Case]:
        fields = [(False, False), (True, True)]
        hypers = [(0.1, 0.02, 0.3, 0.9, 0.1, 1e-3, 0.8), (0, 0, 0.3, 0.9, 0.1, 1e-8, 0.8)]
        yield from cls.grid(fields, hypers, (1, 2, 3))


class AdamOp(Update):
    """exp_avg += gain·(g - exp_avg); exp_avg_sq = beta2·exp_avg_sq + rest2·g²;
    param = decay·param - step·exp_avg/(sqrt(exp_avg_sq)/root2 + eps).

    gain = 1 - beta1, rest2 = 1 - beta2, step = lr/(1 - beta1^t), root2 = sqrt(1 - beta2^t); decay
    = 1 - lr·weight decay in AdamW (Loshchilov and Hutter 2019), else 1. With max_exp_avg_sq
    (AMSGrad: Reddi, Kale, Kumar 2018) the largest exp_avg_sq so far takes its place. Kingma and Ba
    2015.
    """

    inputs = ("param", "grad", "hyper", "active?", "exp_avg", "exp_avg_sq", "max_exp_avg_sq?")
    mutates = ("param", "exp_avg", "exp_avg_sq", "max_exp_avg_sq")
    HYPER = ("weight_decay", "l1", "decay", "gain", "beta2", "rest2", "step", "root2", "eps")
    FLOPS = 14

    def rule(self, xp: Any, param: Any, g: Any, h: dict[str, Any], *state: Any) -> tuple[Any, ...]:
        mean, square, largest = state
        mean = mean + h["gain"] * (g - mean)
        top = square = h["beta2"] * square + h["rest2"] * (g * g)
        if largest is not None:
            top = largest = xp.maximum(largest, square)
        step = mean / (xp.sqrt(top) / h["root2"] + h["eps"])
        return param * h["decay"] - h["step"] * step, mean, square, largest

    @classmethod
    def cases(cls) -> Iterator[Case]:
        hypers = [
            (0.1, 0.02, 0.9, 0.1, 0.99, 0.01, 0.3, 0.5, 1e-3),
            (0, 0, 1, 0.1, 0.999, 0.001, 0.1, 0.03, 1e-8),
        ]
        yield from cls.grid([(False,), (True,)], hypers, (2, 3))


def root(xp: Any, x: Any, eps: Any, inside: bool) -> Any:
    return xp.sqrt(x + eps) if inside else xp.sqrt(x) + eps
