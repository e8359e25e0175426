"""Activations with more than one input: prelu, glu, rrelu."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Array, Case, Cost, Op, Spec, require, require_float
from gpudl.core.public import public
from gpudl.ops.activation.base import normal
from gpudl.ops.activation.pieces import leaky_relu
from gpudl.ops.activation.smooth import sigmoid
from gpudl.ops.elementwise.arithmetic import add, mul
from gpudl.ops.elementwise.comparison import gt
from gpudl.ops.index.slices import where
from gpudl.ops.random.fills import rand
from gpudl.ops.shape.joining import chunk


class PreluOp(Op):
    """y = x where x > 0, else weight·x; weight (C) or (1), x (N, C, …) with one to three more axes
    (He, Zhang, Ren, Sun 2015, "Delving Deep into Rectifiers")."""

    inputs = ("x", "weight")
    saves = ("x", "weight")
    saved_for = {"weight": ("x",)}
    kernels = ("flat",)

    def infer(self, x: Spec, weight: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x, weight=weight)
        require(3 <= len(x.shape) <= 5, self, "x", f"is {x}; it must have 3 to 5 axes (N, C, …)")
        require(x.size < 2**31, self, "x", f"is {x}; it must have fewer than 2^31 elements")
        fits = weight.shape in ((1,), (x.shape[1],))
        words = f"has shape {weight.shape}; it must be (1,) or ({x.shape[1]},), one per channel"
        require(fits, self, "weight", words)
        return (x,)

    def by_channel(self, weight: Array, x: Array) -> Array:
        return weight.reshape(-1, *(1,) * (x.ndim - 2))

    def forward(self, xp: Any, x: Array, weight: Array) -> tuple[Array, ...]:
        return (xp.where(x > 0, x, x * self.by_channel(weight, x)),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        x, dy, dx, dweight = saved.x, dys[0], None, None
        if needs[0]:
            dx = xp.where(x > 0, dy, dy * self.by_channel(saved.weight, x))
        if needs[1]:
            terms = xp.where(x > 0, 0, dy * x)
            shape = saved.specs[1].shape
            axes = None if shape == (1,) else tuple(a for a in range(x.ndim) if a != 1)
            dweight = terms.sum(axes, dtype=dy.dtype).reshape(shape)
        return dx, dweight

    def cost(self, x: Spec, weight: Spec) -> Cost:
        return Cost(2 * x.size, (2 * x.size + weight.size) * x.dtype.itemsize)

    def reduction(self, x: Spec, weight: Spec) -> int:
        return max(1, x.size // max(1, weight.size))

    def twin(self, torch: Any, x: Any, weight: Any) -> Any:
        return torch.nn.functional.prelu(x, weight)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        op = cls()
        shapes = [((2, 5, 7), 5), ((2, 3, 4, 5), 3), ((3, 35, 5, 30), 35), ((2, 4, 3, 3), 1)]
        for shape, n in [*shapes, ((2, 3, 2, 2, 3), 3), ((3, 7, 60), 1), ((0, 3, 2), 3)]:
            name = f"{'x'.join(map(str, shape))}, {n} weights"
            yield Case(name, op, lambda rng, s=shape, n=n: (normal(rng, s), normal(rng, (n,))))
        special = np.array([-1, 0, 2, np.nan, np.inf, -np.inf], np.float32).reshape(1, 2, 3)
        quarter = np.array([0.25, 0.5], np.float32)
        y = np.array([-0.25, 0, 2, np.nan, np.inf, -np.inf], np.float32).reshape(1, 2, 3)
        yield Case("special values", op, lambda rng: (special, quarter), golden=(y,))
        refused = {"weight has shape": ((2, 3, 4), 2), "x is .* it must have 3 to 5": ((2, 3), 3)}
        for error, (shape, n) in refused.items():
            yield Case(
                error,
                op,
                lambda rng, s=shape, n=n: (normal(rng, s), normal(rng, (n,))),
                error=error,
            )


@public("gpudl", "Tensor", "functional")
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """input where positive, else weight · input, with a learned weight.

    input: (N, C, …), or any shape if weight has one element. weight: (C), (1) or ().
    """
    if not weight.ndim:
        weight = cast(Any, weight).reshape(1)
    shape = tuple(input.shape)
    if 3 <= len(shape) <= 5:
        return apply(PreluOp.of(), input, weight)  # type: ignore[no-any-return]
    rest = -1 if input.numel() else 0
    seen = (shape[0], shape[1], rest) if len(shape) > 1 else (1, 1, rest)
    y: Tensor = apply(PreluOp.of(), cast(Any, input).reshape(seen), weight)
    return cast(Any, y).reshape(shape)  # type: ignore[no-any-return]


@public("functional")
def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a · sigmoid(b), with a and b the halves of input along dim (Dauphin et al. 2017).

    Raises ValueError if the extent of dim is odd.
    """
    extent = input.shape[dim]
    if extent % 2:
        raise ValueError(f"glu: input has {extent} elements along dim {dim}; it must be even")
    value, gate = chunk(input, 2, dim)
    return mul(value, sigmoid(gate))


@public("functional")
def rrelu(
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """leaky_relu with a slope drawn from [lower, upper) for each element; if not training, with
    their mean (Xu et al. 2015). Raises ValueError if lower > upper."""
    if not lower <= upper:
        raise ValueError(f"rrelu: lower is {lower}; it must not exceed upper, {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    drawn = rand(*input.shape, dtype=input.dtype, device=input.device)
    slopes = add(mul(drawn, upper - lower), lower)
    y = where(gt(input, 0), input, mul(input, slopes))
    return input._changed_in_place(y) if inplace else y
