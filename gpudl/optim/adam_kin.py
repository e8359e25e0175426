"""Variants of Adam: Adamax, NAdam, RAdam."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, ClassVar

from gpudl.ops.optimizer.adam import AdamaxOp, NadamOp, RadamOp
from gpudl.optim.adam import CHECKS
from gpudl.optim.optimizer import Group, Optimizer


class Adamax(Optimizer):
    """Adam with a decaying maximum of |g| instead of the root mean square: u = max(beta2·u, |g| +
    eps); param -= lr/(1 - beta1^t) · m/u. Kingma and Ba 2015, algorithm 2."""

    update = AdamaxOp
    checks: ClassVar[Any] = CHECKS

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        l1: float = 0,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "l1": l1,
            },
        )

    def states(self, group: Group) -> dict[str, float]:
        return {"exp_avg": 0.0, "exp_inf": 0.0}

    def hyper(self, group: Group, step: int) -> tuple[float, ...]:
        g, (beta1, beta2) = group, group["betas"]
        rate = g["lr"] / (1 - beta1**step)
        return g["weight_decay"], g["l1"], 1 - beta1, beta2, rate, g["eps"]


class _Means(Optimizer):
    """Base of NAdam and RAdam: two moving averages, and weight decay as a penalty or decoupled from
    the gradient (decoupled_weight_decay, as in AdamW)."""

    checks: ClassVar[Any] = CHECKS

    def states(self, group: Group) -> dict[str, float]:
        return {"exp_avg": 0.0, "exp_avg_sq": 0.0}

    def common(self, group: Group) -> tuple[float, ...]:
        """The hyperparameters weight_decay, l1, decay, gain, beta2, rest2."""
        g, (beta1, beta2) = group, group["betas"]
        apart = g["decoupled_weight_decay"]
        decay = 1 - g["lr"] * g["weight_decay"] if apart else 1.0
        penalty = 0.0 if apart else g["weight_decay"]
        return penalty, g["l1"], decay, 1 - beta1, beta2, 1 - beta2


class NAdam(_Means):
    """Adam with Nesterov momentum: a step combines the gradient itself and the moving average with
    the next step's weight (see NadamOp for the formula). Dozat 2016."""

    update = NadamOp

    def __init__(
        self,
        params: Any,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        l1: float = 0,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
                "l1": l1,
            },
        )

    def scalars(self, group: Group, step: int) -> dict[str, float]:
        return {"mu_product": _momenta(group["betas"][0], group["momentum_decay"], step)}

    def hyper(self, group: Group, step: int) -> tuple[float, ...]:
        g, beta1, slow = group, group["betas"][0], group["momentum_decay"]
        root2 = math.sqrt(1 - g["betas"][1] ** step)
        now = g["lr"] * (1 - _momentum(beta1, slow, step)) / (1 - _momenta(beta1, slow, step))
        ahead = g["lr"] * _momentum(beta1, slow, step + 1) / (1 - _momenta(beta1, slow, step + 1))
        return *self.common(group), root2, g["eps"], now, ahead


def _momentum(beta1: float, decay: float, step: int) -> float:
    return beta1 * (1 - 0.5 * math.pow(0.96, step * decay))


@lru_cache(maxsize=1 << 16)
def _momenta(beta1: float, decay: float, step: int) -> float:
    """The product of the momenta of steps 1 to `step`; 0 if float32 would underflow."""
    product = 1.0
    for t in range(1, step + 1):
        product *= _momentum(beta1, decay, t)
        if product < 1e-46:
            return 0.0
    return product


class RAdam(_Means):
    """Adam that takes plain momentum steps until enough gradients have been seen to estimate their
    variance, and then scales its steps to correct for the remaining uncertainty. Liu et al. 2020,
    algorithm 2."""

    update = RadamOp

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
        l1: float = 0,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "decoupled_weight_decay": decoupled_weight_decay,
                "maximize": maximize,
                "l1": l1,
            },
        )

    def hyper(self, group: Group, step: int) -> tuple[float, ...]:
        g, (beta1, beta2) = group, group["betas"]
        rest = 1 - beta2**step
        most = 2 / (1 - beta2) - 1
        length = most - 2 * step * beta2**step / rest  # of the moving average, in steps
        rectified = 0.0
        if length > 5:
            share = (length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)
            rectified = math.sqrt(share * rest)
        return *self.common(group), g["lr"] / (1 - beta1**step), rectified, g["eps"]
