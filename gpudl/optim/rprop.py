"""Rprop."""

from __future__ import annotations

from typing import Any, ClassVar

from gpudl.ops.optimizer.rules import RpropOp
from gpudl.optim.optimizer import Group, Optimizer
from gpudl.optim.sgd import NOT_NEGATIVE


class Rprop(Optimizer):
    """Each element has its own step size, which is multiplied by etas[1] while the gradient keeps
    its sign, and by etas[0] when the sign changes. Only the gradient's sign counts, so use full
    batches. Riedmiller and Braun 1993. step_sizes: smallest and largest. l1: see SGD."""

    update = RpropOp
    checks: ClassVar[Any] = {
        **dict.fromkeys(("lr", "l1"), NOT_NEGATIVE),
        "etas": (lambda etas: 0 < etas[0] < 1 < etas[1], "two numbers, below and above 1"),
        "step_sizes": (lambda sizes: 0 < sizes[0] <= sizes[1], "smallest and largest, above 0"),
    }

    def __init__(
        self,
        params: Any,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
        l1: float = 0,
    ) -> None:
        super().__init__(
            params,
            {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize, "l1": l1},
        )

    def states(self, group: Group) -> dict[str, float]:
        return {"prev": 0.0, "step_size": group["lr"]}

    def hyper(self, group: Group, step: int) -> tuple[float, ...]:
        return 0.0, group["l1"], *group["etas"], *group["step_sizes"]
