"""Adadelta."""

from __future__ import annotations

from typing import Any, ClassVar

from gpudl.ops.optimizer.rules import AdadeltaOp
from gpudl.optim.optimizer import Group, Optimizer
from gpudl.optim.sgd import NOT_NEGATIVE


class Adadelta(Optimizer):
    """s = rho·s + (1 - rho)·g²; step = sqrt(d + eps)/sqrt(s + eps)·g; d = rho·d + (1 - rho)·step²;
    param -= lr·step. Zeiler 2012. weight_decay and l1: see SGD."""

    update = AdadeltaOp
    checks: ClassVar[Any] = {
        **dict.fromkeys(("lr", "eps", "weight_decay", "l1"), NOT_NEGATIVE),
        "rho": (lambda rho: 0 <= rho <= 1, "0 to 1"),
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        l1: float = 0,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "rho": rho,
                "eps": eps,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "l1": l1,
            },
        )

    def states(self, group: Group) -> dict[str, float]:
        return {"square_avg": 0.0, "acc_delta": 0.0}

    def hyper(self, group: Group, step: int) -> tuple[float, ...]:
        g = group
        return g["weight_decay"], g["l1"], g["lr"], g["rho"], 1 - g["rho"], g["eps"]
