"""Activation functions, elementwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gpudl.op import Array, Case, Op, Spec, public, require, require_float
from gpudl.tensor import Tensor, apply


class Activation(Op):
    """What elementwise functions share: a floating input, an output like it, and their cases."""

    kernels = ("flat",)
    special: ClassVar[tuple[float, ...]] = (-1, 0, 2, np.nan, np.inf, -np.inf)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require_float(self, x=x)
        return (x,)

    @classmethod
    def common_cases(cls, *golden: float) -> Iterator[Case]:
        """Ragged and empty shapes, both memory orders, an unaligned start; `golden`: f(special)."""
        op = cls()
        for shape in [(3, 5), (2, 3, 5, 7), (0, 4), (1,), (1025,), ()]:
            yield Case("x".join(map(str, shape)), op, lambda rng, s=shape: (normal(rng, s),))
        yield Case("unaligned", op, lambda rng: (normal(rng, (603,))[1:],))
        yield Case(
            "channels last",
            op,
            lambda rng: (normal(rng, (2, 4, 3, 5)).transpose(0, 3, 1, 2),),
        )
        x, y = np.array(cls.special, np.float32), np.array(golden, np.float32)
        yield Case("special values", op, lambda rng: (x,), golden=(y,))
        yield Case("integers", op, lambda rng: (np.arange(3),), error=rf"{op.name}: x is int64")


def normal(rng: np.random.Generator, shape: tuple[int, ...], scale: float = 1) -> Array:
    return np.asarray(rng.standard_normal(shape) * scale, np.float32)


class ReluOp(Activation):
    """y = max(x, 0); NaN passes. The gradient at 0 is 0."""

    saves = ("y",)
    cpu = ("bits",)

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        return (xp.maximum(x, 0),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        return (xp.where(saved.y <= 0, 0, dys[0]),)  # a NaN passes its gradient, as in PyTorch

    def backward_bits(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        """Clears the bits of dy where y <= 0: a twelfth of the time of `where`, and, unlike a
        product with the mask, right for infinite gradients."""
        integer = np.dtype(f"i{dys[0].itemsize}")
        mask = (saved.y <= 0).astype(integer)
        mask -= 1
        mask &= dys[0].view(integer)
        return (mask.view(dys[0].dtype),)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.nn.functional.relu(x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.common_cases(0, 0, 2, np.nan, np.inf, 0)


class LeakyReluOp(Activation):
    """y = x where x > 0, else negative_slope * x. The gradient at 0 is negative_slope."""

    saves = ("x",)
    negative_slope: float = 0.01

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        return (xp.where(x > 0, x, x * self.negative_slope),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        return (xp.where(saved.x > 0, dys[0], dys[0] * self.negative_slope),)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.nn.functional.leaky_relu(x, self.negative_slope)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.common_cases(-0.01, 0, 2, np.nan, np.inf, -np.inf)
        yield Case("negative slope", cls.of(-0.5), lambda rng: (normal(rng, (7, 9)),))


class SigmoidOp(Activation):
    """y = 1 / (1 + exp(-x)). Overflow of the exponential gives the right limit, 0."""

    saves = ("y",)
    cpu = ("inplace",)

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        return (1 / (1 + xp.exp(-x)),)

    def forward_inplace(self, xp: Any, x: Array) -> tuple[Array, ...]:
        """The definition with one array for all its steps."""
        y = np.asarray(np.negative(x))
        np.exp(y, out=y)
        y += 1
        return (np.reciprocal(y, out=y),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        return (dys[0] * saved.y * (1 - saved.y),)

    def backward_inplace(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        dx = np.asarray(np.subtract(1, saved.y))
        dx *= saved.y
        dx *= dys[0]
        return (dx,)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.sigmoid(x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        e = 0.26894142136999512
        yield from cls.common_cases(e, 0.5, 0.88079707797788244, np.nan, 1, 0)
        yield Case("large", cls(), lambda rng: (normal(rng, (40,), 100),))


class TanhOp(Activation):
    """y = tanh(x)."""

    saves = ("y",)
    cpu = ("inplace",)

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        return (xp.tanh(x),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        return (dys[0] * (1 - saved.y * saved.y),)

    def backward_inplace(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        dx = np.asarray(np.square(saved.y))
        np.subtract(1, dx, out=dx)
        dx *= dys[0]
        return (dx,)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.tanh(x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.common_cases(-0.76159415595576489, 0, 0.96402758007581688, np.nan, 1, -1)
        yield Case("large", cls(), lambda rng: (normal(rng, (40,), 100),))


class SoftplusOp(Activation):
    """y = log(1 + exp(beta*x)) / beta, without overflow; x itself where beta*x > threshold."""

    saves = ("x",)
    beta: float = 1.0
    threshold: float = 20.0

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require(self.beta != 0, self, "beta", "is 0; it must not be: the function divides by it")
        return super().infer(x)

    def forward(self, xp: Any, x: Array) -> tuple[Array, ...]:
        z = x * self.beta
        return (xp.where(z > self.threshold, x, xp.logaddexp(z, xp.zeros_like(z)) / self.beta),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        z = saved.x * self.beta
        return (xp.where(z > self.threshold, dys[0], dys[0] / (1 + xp.exp(-z))),)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.nn.functional.softplus(x, self.beta, self.threshold)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        log2, at2 = 0.69314718055994529, 2.1269280110429727
        yield from cls.common_cases(0.31326168751822286, log2, at2, np.nan, np.inf, 0)
        yield Case("large", cls(), lambda rng: (normal(rng, (40,), 100),))
        yield Case("no threshold", cls.of(1.0, 1e9), lambda rng: (normal(rng, (40,), 100),))
        yield Case("beta 3, threshold 2", cls.of(3.0, 2.0), lambda rng: (normal(rng, (9, 11)),))
        yield Case("beta 0", cls.of(0.0), lambda rng: (normal(rng, (3,)),), error="beta is 0")


def run(op: Op, input: Tensor, inplace: bool) -> Tensor:
    """The operator's output, or the input changed into it."""
    if not inplace:
        return apply(op, input)  # type: ignore[no-any-return]
    if "x" in op.saves:  # backward needs the values from before: they move to memory of their own
        before = Tensor._wrap(input.data.copy(), input.device, input._node, input._index)
        return input._changed_in_place(apply(op, before))
    return input._changed_in_place(apply(op, input))


@public("gpudl", "Tensor", "functional")
def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(input, 0), elementwise; NaN passes. The gradient at 0 is 0."""
    return run(ReluOp.of(), input, inplace)


@public("functional")
def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """input where it is positive, else negative_slope * input, elementwise."""
    return run(LeakyReluOp.of(float(negative_slope)), input, inplace)


@public("gpudl", "Tensor", "functional")
def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-input)), elementwise, for any size of input."""
    return apply(SigmoidOp.of(), input)  # type: ignore[no-any-return]


@public("gpudl", "Tensor", "functional")
def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent, elementwise."""
    return apply(TanhOp.of(), input)  # type: ignore[no-any-return]


@public("functional")
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta*input)) / beta, elementwise: a smooth ReLU.

    Where beta*input > threshold it is the input itself. Raises ValueError for beta = 0.
    """
    return apply(SoftplusOp.of(float(beta), float(threshold)), input)  # type: ignore[no-any-return]
