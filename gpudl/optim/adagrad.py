"""Adagrad."""

from __future__ import annotations

from typing import Any, ClassVar

from gpudl.ops.optimizer.rules import AdagradOp
from gpudl.optim.optimizer import Group, Optimizer
from gpudl.optim.sgd import NOT_NEGATIVE


class Adagrad(Optimizer):
    """sum += g²; param -= lr/(1 + (t - 1)·lr_decay) · g/(sqrt(sum) + eps).

    Duchi, Hazan, Singer 2011, in the form that PyTorch and the lectures use. With
    eps_inside=True, eps is under the root: sqrt(sum + eps). weight_decay and l1: see SGD.
    """

    update = AdagradOp
    flags = ("maximize", "eps_inside")
    checks: ClassVar[Any] = dict.fromkeys(
        ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps", "l1"), NOT_NEGATIVE
    )

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
        l1: float = 0,
        eps_inside: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "lr_decay": lr_decay,
                "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value,
                "eps": eps,
                "maximize": maximize,
                "l1": l1,
                "eps_inside": eps_inside,
            },
        )

    def states(self, group: Group) -> dict[str, float]:
        return {"sum": group["initial_accumulator_value"]}

    def hyper(self, group: Group, step: int) -> tuple[float, ...]:
        lr = group["lr"] / (1 + (step - 1) * group["lr_decay"])
        return group["weight_decay"], group["l1"], lr, group["eps"]
