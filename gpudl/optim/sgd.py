"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from typing import Any, ClassVar

from gpudl.ops.optimizer.rules import SgdOp
from gpudl.optim.optimizer import Group, Optimizer

NOT_NEGATIVE = (lambda value: value >= 0, "zero or more")


class SGD(Optimizer):
    """param -= lr·g with g = grad + weight_decay·param + l1·sign(param) (the L2 and L1 penalties
    weight_decay/2·|param|² and l1·|param|).

    Momentum as in PyTorch: b = momentum·b + (1 - dampening)·g, starting with b = g; param -= lr·b,
    or with nesterov lr·(g + momentum·b). With lectures=True, momentum as in the lectures, where the
    velocity contains lr: v = momentum·v - lr·g; param += v, or with nesterov param += v +
    momentum·(v - v_before). Both take the same steps while lr is constant and dampening is 0; when
    a schedule lowers lr, the lectures' velocity keeps what it accumulated at the higher rate.

    Raises ValueError for negative options, and for nesterov without momentum or with dampening.
    """

    update = SgdOp
    flags = ("maximize", "nesterov", "lectures")
    checks: ClassVar[Any] = dict.fromkeys(("lr", "momentum", "weight_decay", "l1"), NOT_NEGATIVE)
    counts_steps = False

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        l1: float = 0,
        lectures: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and a dampening of 0")
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
                "maximize": maximize,
                "l1": l1,
                "lectures": lectures,
            },
        )

    def states(self, group: Group) -> dict[str, float]:
        return {"momentum_buffer": 0.0} if group["momentum"] != 0 else {}

    def hyper(self, group: Group, step: int) -> tuple[float, ...]:
        g = group
        first = float(step == 1)
        keep = 1 - g["dampening"]
        return g["weight_decay"], g["l1"], g["lr"], g["momentum"], keep, first
