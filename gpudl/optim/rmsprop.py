"""RMSprop."""

from __future__ import annotations

from typing import Any, ClassVar

from gpudl.ops.optimizer.rules import RmspropOp
from gpudl.optim.optimizer import Group, Optimizer
from gpudl.optim.sgd import NOT_NEGATIVE


class RMSprop(Optimizer):
    """s = alpha·s + (1 - alpha)·g²; param -= lr · g/(sqrt(s) + eps), as in PyTorch.

    Tieleman and Hinton 2012 (lecture 6e) divide by sqrt(s), with alpha = 0.9 and no eps. With
    eps_inside=True, eps is under the root as in some lectures: g/sqrt(s + eps), which gives much
    smaller steps for g near 0. centered: use the variance s - mean² instead of s (Graves 2013).
    momentum: applied to the steps, b = momentum·b + g/(…); param -= lr·b. weight_decay and l1: see
    SGD.
    """

    update = RmspropOp
    flags = ("maximize", "eps_inside")
    checks: ClassVar[Any] = dict.fromkeys(
        ("lr", "alpha", "eps", "weight_decay", "momentum", "l1"), NOT_NEGATIVE
    )

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
        l1: float = 0,
        eps_inside: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
                "maximize": maximize,
                "l1": l1,
                "eps_inside": eps_inside,
            },
        )

    def states(self, group: Group) -> dict[str, float]:
        names = ["square_avg"]
        names += ["grad_avg"] if group["centered"] else []
        names += ["momentum_buffer"] if group["momentum"] > 0 else []
        return dict.fromkeys(names, 0.0)

    def hyper(self, group: Group, step: int) -> tuple[float, ...]:
        g = group
        rest = 1 - g["alpha"]
        return g["weight_decay"], g["l1"], g["lr"], g["alpha"], rest, g["eps"], g["momentum"]
