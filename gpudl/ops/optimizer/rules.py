"""Update rules of optimizers: SGD, Adagrad, Adadelta, RMSprop, Rprop, averaged SGD."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.core.op import Case
from gpudl.ops.optimizer.base import UpdateRule, decayed, root


class SgdOp(UpdateRule):
    """buffer = momentum·buffer + keep·g (in the first step g); param -= lr·buffer, with nesterov
    lr·(g + momentum·buffer), without a buffer lr·g.

    velocity: the textbook form, v = momentum·v - lr·keep·g; param += v, or with nesterov
    (Sutskever, Martens, Dahl, Hinton 2013, in the shifted variable) param += v + momentum·(v -
    v_before).
    """

    inputs = ("param", "grad", "hyper", "rows?", "blocks?", "momentum_buffer?")
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

    def in_place(
        self, spare: tuple[Any, Any], param: Any, grad: Any, h: dict[str, Any], *state: Any
    ) -> bool:
        (buffer,), (first, step) = state, spare
        if self.velocity:
            return False
        g = decayed(first, param, grad, h)
        if buffer is None:
            np.multiply(g, h["lr"], out=step)
        else:
            if h["first"] != 0:
                buffer[:] = g
            else:
                buffer *= h["momentum"]
                buffer += np.multiply(g, h["keep"], out=step)
            if self.nesterov:
                np.multiply(buffer, h["momentum"], out=step)
                step += g
                step *= h["lr"]
            else:
                np.multiply(buffer, h["lr"], out=step)
        param -= step
        return True

    @classmethod
    def cases(cls) -> Iterator[Case]:
        fields = [(m, n, v) for m in (False, True) for n in (False, True) for v in (False, True)]
        hypers = [(0.1, 0.02, 0.3, 0.9, 0.5, 0), (0, 0, 0.3, 0.9, 1, 1)]
        yield from cls.grid(fields, hypers, (0, 1))


class AdagradOp(UpdateRule):
    """sum += g²; param -= lr·g/(sqrt(sum) + eps), or with eps_inside lr·g/sqrt(sum + eps).

    Duchi, Hazan, Singer 2011.
    """

    inputs = ("param", "grad", "hyper", "rows?", "blocks?", "sum")
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


class RmspropOp(UpdateRule):
    """square_avg = alpha·square_avg + rest·g²; step = g/(sqrt(square_avg) + eps); with a momentum
    buffer step = buffer = momentum·buffer + step; param -= lr·step. rest = 1 - alpha.

    With grad_avg (Graves 2013, eq. 40) the square root is of square_avg - grad_avg², grad_avg the
    same mean of g. eps_inside: sqrt(… + eps). Tieleman and Hinton 2012, lecture 6e.
    """

    inputs = (
        "param",
        "grad",
        "hyper",
        "rows?",
        "blocks?",
        "square_avg",
        "grad_avg?",
        "momentum_buffer?",
    )
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


class AdadeltaOp(UpdateRule):
    """square_avg = rho·square_avg + rest·g²; step = sqrt(acc_delta + eps)/sqrt(square_avg + eps)·g;
    acc_delta = rho·acc_delta + rest·step²; param -= lr·step. rest = 1 - rho. Zeiler 2012, algorithm
    1."""

    inputs = ("param", "grad", "hyper", "rows?", "blocks?", "square_avg", "acc_delta")
    mutates = ("param", "square_avg", "acc_delta")
    HYPER = ("weight_decay", "l1", "lr", "rho", "rest", "eps")
    FLOPS = 14

    def rule(self, xp: Any, param: Any, g: Any, h: dict[str, Any], *state: Any) -> tuple[Any, ...]:
        square_avg, acc_delta = state
        square = h["rho"] * square_avg + h["rest"] * (g * g)
        step = xp.sqrt(acc_delta + h["eps"]) / xp.sqrt(square + h["eps"]) * g
        return param - h["lr"] * step, square, h["rho"] * acc_delta + h["rest"] * (step * step)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        hypers = [(0.1, 0.02, 0.3, 0.9, 0.1, 1e-3), (0, 0, 1, 0.9, 0.1, 1e-6)]
        yield from cls.grid([(False,), (True,)], hypers, (2,))


class RpropOp(UpdateRule):
    """step_size, within [least, most], is multiplied by etaplus where g has the sign of prev, and
    by etaminus where it has the opposite sign (g then counts as 0); param -= sign(g)·step_size;
    prev = g. Riedmiller and Braun 1993."""

    inputs = ("param", "grad", "hyper", "rows?", "blocks?", "prev", "step_size")
    mutates = ("param", "prev", "step_size")
    HYPER = ("weight_decay", "l1", "etaminus", "etaplus", "least", "most")
    FLOPS = 8

    def rule(self, xp: Any, param: Any, g: Any, h: dict[str, Any], *state: Any) -> tuple[Any, ...]:
        prev, step_size = state
        agreement = g * prev
        factor = xp.where(agreement > 0, h["etaplus"], xp.where(agreement < 0, h["etaminus"], 1))
        size = xp.minimum(xp.maximum(step_size * factor, h["least"]), h["most"])
        g = xp.where(agreement < 0, 0, g)
        return param - xp.sign(g) * size, g, size

    @classmethod
    def cases(cls) -> Iterator[Case]:
        hypers = [(0, 0, 0.5, 1.2, 1e-6, 50), (0, 0.1, 0.5, 1.5, 0.7, 1.5)]
        yield from cls.grid([(False,), (True,)], hypers, (2,))


class AsgdOp(UpdateRule):
    """param = shrink·param - eta·g; ax, the running average of param, += mu·(param - ax).
    shrink = 1 - lambd·eta. Polyak and Juditsky 1992."""

    inputs = ("param", "grad", "hyper", "rows?", "blocks?", "ax")
    mutates = ("param", "ax")
    HYPER = ("weight_decay", "l1", "eta", "shrink", "mu")
    FLOPS = 6

    def rule(self, xp: Any, param: Any, g: Any, h: dict[str, Any], *state: Any) -> tuple[Any, ...]:
        (average,) = state
        now = param * h["shrink"] - h["eta"] * g
        return now, now if h["mu"] == 1 else average + (now - average) * h["mu"]

    @classmethod
    def cases(cls) -> Iterator[Case]:
        hypers = [(0.1, 0.02, 0.3, 0.99, 0.25), (0, 0, 0.1, 1, 1)]
        yield from cls.grid([(False,), (True,)], hypers, (1,))
