"""Activation functions, elementwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.op import Case, Op, Spec, public, require_float
from gpudl.tensor import Tensor, apply


class ReluOp(Op):
    """y = max(x, 0); NaN passes. The gradient at 0 is 0."""

    saves = ("y",)
    kernels = ("flat",)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        return (x,)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        return (xp.maximum(x, 0),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        return (xp.where(saved.y <= 0, 0, dys[0]),)  # a NaN passes its gradient, as in PyTorch

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.nn.functional.relu(x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        op = cls()
        for shape in [(3, 5), (2, 3, 5, 7), (0, 4), (1,), (1000,)]:
            yield Case("x".join(map(str, shape)), op, lambda rng, s=shape: (normal(rng, s),))
        x = np.array([-1, 0, 2, np.nan, np.inf, -np.inf], np.float32)
        y = np.array([0, 0, 2, np.nan, np.inf, 0], np.float32)
        yield Case("special values", op, lambda rng: (x,), golden=(y,))
        yield Case("integers", op, lambda rng: (np.arange(3),), error=r"relu: x is int64")


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Any:
    return rng.standard_normal(shape).astype(np.float32)


@public("gpudl", "Tensor", "functional")
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0), elementwise; NaN passes."""
    y = apply(ReluOp.of(), input)
    return input._changed_in_place(y) if inplace else y
