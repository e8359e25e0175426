"""Adam and AdamW."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from gpudl.ops.optimizer.adam import AdamOp
from gpudl.optim.optimizer import Group, Optimizer
from gpudl.optim.sgd import NOT_NEGATIVE

CHECKS: dict[str, Any] = {
    **dict.fromkeys(("lr", "eps", "weight_decay", "l1"), NOT_NEGATIVE),
    "betas": (lambda betas: all(0 <= b < 1 for b in betas), "two numbers in [0, 1)"),
}


class Adam(Optimizer):
    """m = beta1·m + (1 - beta1)·g; v = beta2·v + (1 - beta2)·g²;
    param -= lr · (m/(1 - beta1^t)) / (sqrt(v/(1 - beta2^t)) + eps).

    Kingma and Ba 2015, algorithm 1, as in the lectures. weight_decay is an L2 penalty and part of
    g, unlike AdamW's; l1: see SGD. amsgrad: replace v with the largest v so far (Reddi, Kale,
    Kumar 2018), before bias correction as in PyTorch.
    """

    update = AdamOp
    decoupled: ClassVar[bool] = False
    checks: ClassVar[Any] = CHECKS

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
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
                "amsgrad": amsgrad,
                "maximize": maximize,
                "l1": l1,
            },
        )

    def states(self, group: Group) -> dict[str, float]:
        names = ["exp_avg", "exp_avg_sq"]
        return dict.fromkeys(names + ["max_exp_avg_sq"] * group["amsgrad"], 0.0)

    def hyper(self, group: Group, step: int) -> tuple[float, ...]:
        g = group
        lr, weight_decay, (beta1, beta2) = g["lr"], g["weight_decay"], g["betas"]
        decay = 1 - lr * weight_decay if self.decoupled else 1.0
        root2 = math.sqrt(1 - beta2**step)
        numbers = (1 - beta1, beta2, 1 - beta2, lr / (1 - beta1**step), root2, g["eps"])
        return 0.0 if self.decoupled else weight_decay, g["l1"], decay, *numbers


class AdamW(Adam):
    """Adam with weight decay decoupled from the gradient: each step starts with param = (1 -
    lr·weight_decay)·param.

    Loshchilov and Hutter 2019.
    """

    decoupled = True

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        l1: float = 0,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, l1=l1)
