"""Update rules of Adam and its variants: means of the gradient and of its square."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.core.op import Case
from gpudl.ops.optimizer.base import UpdateRule, decayed


class AdamOp(UpdateRule):
    """exp_avg += gain·(g - exp_avg); exp_avg_sq = beta2·exp_avg_sq + rest2·g²;
    param = decay·param - step·exp_avg/(sqrt(exp_avg_sq)/root2 + eps).

    gain = 1 - beta1, rest2 = 1 - beta2, step = lr/(1 - beta1^t), root2 = sqrt(1 - beta2^t); decay
    = 1 - lr·weight decay in AdamW (Loshchilov and Hutter 2019), else 1. With max_exp_avg_sq
    (AMSGrad: Reddi, Kale, Kumar 2018) the largest exp_avg_sq so far replaces exp_avg_sq. Kingma and
    Ba 2015.
    """

    inputs = (
        "param",
        "grad",
        "hyper",
        "rows?",
        "blocks?",
        "exp_avg",
        "exp_avg_sq",
        "max_exp_avg_sq?",
    )
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

    def in_place(
        self, spare: tuple[Any, Any], param: Any, grad: Any, h: dict[str, Any], *state: Any
    ) -> bool:
        (mean, square, largest), (first, step) = state, spare
        g = decayed(first, param, grad, h)
        np.subtract(g, mean, out=step)
        step *= h["gain"]
        mean += step
        np.multiply(g, g, out=step)
        step *= h["rest2"]
        square *= h["beta2"]
        square += step
        top = square if largest is None else np.maximum(largest, square, out=largest)
        np.sqrt(top, out=step)
        step /= h["root2"]
        step += h["eps"]
        np.divide(mean, step, out=step)
        step *= h["step"]
        if h["decay"] != 1:
            param *= h["decay"]
        param -= step
        return True

    @classmethod
    def cases(cls) -> Iterator[Case]:
        hypers = [
            (0.1, 0.02, 0.9, 0.1, 0.99, 0.01, 0.3, 0.5, 1e-3),
            (0, 0, 1, 0.1, 0.999, 0.001, 0.1, 0.03, 1e-8),
        ]
        yield from cls.grid([(False,), (True,)], hypers, (2, 3))


class AdamaxOp(UpdateRule):
    """exp_avg += gain·(g - exp_avg); exp_inf = max(beta2·exp_inf, |g| + eps); param -=
    step·exp_avg/exp_inf. step = lr/(1 - beta1^t). Kingma and Ba 2015, algorithm 2."""

    inputs = ("param", "grad", "hyper", "rows?", "blocks?", "exp_avg", "exp_inf")
    mutates = ("param", "exp_avg", "exp_inf")
    HYPER = ("weight_decay", "l1", "gain", "beta2", "step", "eps")
    FLOPS = 9

    def rule(self, xp: Any, param: Any, g: Any, h: dict[str, Any], *state: Any) -> tuple[Any, ...]:
        mean, largest = state
        mean = mean + h["gain"] * (g - mean)
        largest = xp.maximum(h["beta2"] * largest, xp.abs(g) + h["eps"])
        return param - h["step"] * (mean / largest), mean, largest

    @classmethod
    def cases(cls) -> Iterator[Case]:
        hypers = [(0.1, 0.02, 0.1, 0.9, 0.3, 1e-3), (0, 0, 0.1, 0.999, 0.1, 1e-8)]
        yield from cls.grid([(False,), (True,)], hypers, (2,))


class Means(UpdateRule):
    """exp_avg += gain·(g - exp_avg); exp_avg_sq = beta2·exp_avg_sq + rest2·g²."""

    inputs = ("param", "grad", "hyper", "rows?", "blocks?", "exp_avg", "exp_avg_sq")
    mutates = ("param", "exp_avg", "exp_avg_sq")
    FLOPS = 14

    def means(self, g: Any, h: dict[str, Any], mean: Any, square: Any) -> tuple[Any, Any]:
        return mean + h["gain"] * (g - mean), h["beta2"] * square + h["rest2"] * (g * g)


class NadamOp(Means):
    """Adam's means, then param = decay·param - (now·g + ahead·exp_avg)/(sqrt(exp_avg_sq)/root2 +
    eps). With the momenta mu_t = beta1·(1 - 0.96^(t·momentum_decay)/2) and P_t their product so
    far: now = lr·(1 - mu_t)/(1 - P_t), ahead = lr·mu_t+1/(1 - P_t+1). Dozat 2016."""

    HYPER = (
        "weight_decay", "l1", "decay", "gain", "beta2", "rest2", "root2", "eps", "now", "ahead",
    )  # fmt: skip

    def rule(self, xp: Any, param: Any, g: Any, h: dict[str, Any], *state: Any) -> tuple[Any, ...]:
        mean, square = self.means(g, h, *state)
        step = (h["now"] * g + h["ahead"] * mean) / (xp.sqrt(square) / h["root2"] + h["eps"])
        return param * h["decay"] - step, mean, square

    @classmethod
    def cases(cls) -> Iterator[Case]:
        hypers = [
            (0.1, 0.02, 0.9, 0.1, 0.99, 0.01, 0.5, 1e-3, 0.1, 0.2),
            (0, 0, 1, 0.1, 0.999, 0.001, 0.03, 1e-8, 0.001, 0.002),
        ]
        yield from cls.grid([(False,), (True,)], hypers, (2,))


class RadamOp(Means):
    """Adam's means, then param = decay·param - step·exp_avg·rectified/(sqrt(exp_avg_sq) + eps), or,
    if rectified is 0 (in the first steps the variance is unbounded), decay·param - step·exp_avg.
    step = lr/(1 - beta1^t), rectified = r_t·sqrt(1 - beta2^t). Liu et al. 2020, algorithm 2."""

    HYPER = (
        "weight_decay", "l1", "decay", "gain", "beta2", "rest2", "step", "rectified", "eps",
    )  # fmt: skip

    def rule(self, xp: Any, param: Any, g: Any, h: dict[str, Any], *state: Any) -> tuple[Any, ...]:
        mean, square = self.means(g, h, *state)
        scale = h["rectified"] / (xp.sqrt(square) + h["eps"]) if h["rectified"] != 0 else 1
        return param * h["decay"] - h["step"] * mean * scale, mean, square

    @classmethod
    def cases(cls) -> Iterator[Case]:
        hypers = [
            (0.1, 0.02, 0.9, 0.1, 0.99, 0.01, 0.3, 0.5, 1e-3),
            (0, 0, 1, 0.1, 0.999, 0.001, 0.1, 0, 1e-8),
        ]
        yield from cls.grid([(False,), (True,)], hypers, (2,))
