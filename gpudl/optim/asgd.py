"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any, ClassVar

from gpudl.ops.optimizer.rules import AsgdOp
from gpudl.optim.optimizer import Group, Optimizer
from gpudl.optim.sgd import NOT_NEGATIVE


class ASGD(Optimizer):
    """SGD with a decay lambd and the learning rate eta_t = lr/(1 + lambd·lr·(t - 1))^alpha, which
    averages the parameters over the steps after t0: use the average, `state[p]["ax"]`, as the
    result (Polyak and Juditsky 1992: it converges at the optimal rate if the learning rate falls
    more slowly than 1/t).

    weight_decay and l1: see SGD. If a schedule changes lr, eta changes in the same step.
    """

    update = AsgdOp
    checks: ClassVar[Any] = dict.fromkeys(("lr", "weight_decay", "l1"), NOT_NEGATIVE)

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
        l1: float = 0,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lambd": lambd,
                "alpha": alpha,
                "t0": t0,
                "weight_decay": weight_decay,
                "maximize": maximize,
                "l1": l1,
            },
        )

    def states(self, group: Group) -> dict[str, float]:
        return {"ax": 0.0}

    def scalars(self, group: Group, step: int) -> dict[str, float]:
        """The learning rate of the step after `step`, and that step's weight in the average."""
        g = group
        eta = g["lr"] / (1 + g["lambd"] * g["lr"] * step) ** g["alpha"]
        return {"eta": eta, "mu": 1 / max(1, step - g["t0"])}

    def hyper(self, group: Group, step: int) -> tuple[float, ...]:
        now = self.scalars(group, step - 1)
        shrink = 1 - group["lambd"] * now["eta"]
        return group["weight_decay"], group["l1"], now["eta"], shrink, now["mu"]
