"""Shared by elementwise operators: dtype promotion, broadcasting and its gradient, and the base
classes of unary and binary operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core import dtypes
from gpudl.core.op import Array, Case, Op, Spec, is_floating
from gpudl.core.public import Number

Maker = Callable[[Any], tuple[Any, ...]]  # takes a numpy.random.Generator, slow to import


def normal(*shapes: tuple[int, ...]) -> Maker:
    """make(rng) of a Case: standard normal arrays of these shapes."""
    return lambda rng: tuple(rng.standard_normal(s).astype(np.float32) for s in shapes)


def uniform(low: float, high: float, *shapes: tuple[int, ...]) -> Maker:
    return lambda rng: tuple(rng.uniform(low, high, s).astype(np.float32) for s in shapes)


def fixed(*arrays: Any) -> Maker:
    """make(rng) of a Case: always these arrays; float64 becomes float32."""
    made = [np.asarray(a) for a in arrays]
    made = [a.astype(np.float32) if a.dtype == np.float64 else a for a in made]
    return lambda rng: tuple(a.copy() for a in made)


def broadcast_shapes(op: Op, names: tuple[str, ...], specs: tuple[Spec, ...]) -> tuple[int, ...]:
    """The common shape by NumPy's rules; ValueError names the inputs that do not fit."""
    shape: tuple[int, ...] = ()
    for spec in specs:
        try:
            shape = _pair_shape(shape, spec.shape)
        except ValueError:
            came = ", ".join(f"{n} {list(s.shape)}" for n, s in zip(names, specs, strict=True))
            raise ValueError(
                f"{op.name}: shapes {came} do not broadcast; aligned at their last axes, extents "
                "must be equal or 1"
            ) from None
    return shape


def _pair_shape(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    if a == b:
        return a
    longer, shorter = (a, b) if len(a) >= len(b) else (b, a)
    lead = len(longer) - len(shorter)
    shape = list(longer)
    for axis, extent in enumerate(shorter, lead):
        if shape[axis] == 1:
            shape[axis] = extent
        elif extent not in (1, shape[axis]):
            raise ValueError
    return tuple(shape)


def unbroadcast(gradient: Array, spec: Spec) -> Array:
    """Sum a gradient over the axes that broadcasting repeated, in the input's dtype."""
    shape = spec.shape
    if gradient.shape != shape:
        lead = gradient.ndim - len(shape)
        axes = tuple(
            axis
            for axis, extent in enumerate(gradient.shape)
            if axis < lead or (shape[axis - lead] == 1 and extent != 1)
        )
        gradient = gradient.sum(axis=axes, dtype=gradient.dtype).reshape(shape)
    if gradient.dtype != spec.dtype:
        gradient = gradient.astype(spec.dtype)
    return gradient


def operands(a: Tensor | Number, b: Any) -> tuple[Tensor, Tensor]:
    """Both as tensors; a Python number gets the dtype that promotion with the other gives it."""
    if isinstance(b, Tensor):
        return (a if isinstance(a, Tensor) else number(a, b)), b
    if isinstance(a, Tensor):
        return a, number(b, a)
    raise TypeError(f"one argument must be a tensor; got {type(a).__name__}, {type(b).__name__}")


def number(value: Any, beside: Tensor) -> Tensor:
    """A Python number or an array as a tensor on the device of `beside`."""
    if isinstance(value, (bool, int, float)):
        dtype = dtypes.number_type(value, beside.array.dtype)
        try:
            return Tensor.from_array(dtype.type(value), beside.device)
        except OverflowError:  # wraps around, as in PyTorch
            return Tensor.from_array(np.array(value).astype(dtype)[()], beside.device)
    if isinstance(value, np.generic):
        return number(value.item(), beside)
    if hasattr(value, "__array__") or hasattr(value, "__dlpack__"):
        return Tensor(value, device=beside.device)
    raise TypeError(f"expected a tensor or a number, got {type(value).__name__}")


class Unary(Op):
    """y = f(x), elementwise. A subclass defines `compute` and `derivative`."""

    saves: ClassVar[tuple[str, ...]] = ("x",)

    def result(self, x: Spec) -> np.dtype[Any]:
        """Floats keep their dtype; integers and bool become float32."""
        return x.dtype if is_floating(x.dtype) else dtypes.float32

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (Spec(x.shape, self.result(x)),)

    def compute(self, xp: Any, x: Any) -> Any:
        raise TypeError

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        """dy · f'(x), from the saved x or y."""
        raise TypeError

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        dtype = self.result(x)
        y = self.compute(xp, x if dtype == x.dtype else x.astype(dtype))
        return (y,)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        return (self.derivative(xp, dys[0], saved),)

    def twin(self, torch: Any, x: Any) -> Any:
        return getattr(torch, self.name)(x)

    domain: ClassVar[tuple[float, float]] = (-2.0, 2.0)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        low, high = cls.domain
        for shape in [(3, 5), (2, 1, 7), (0, 4), ()]:
            yield Case("x".join(map(str, shape)) or "scalar", cls(), uniform(low, high, shape))


class Binary(Op):
    """z = f(x, y), elementwise, with broadcasting. A subclass defines `compute` and the gradients
    `dx` and `dy`, which are then summed over repeated axes."""

    inputs = ("x", "y")
    outputs = ("z",)

    def result(self, x: Any, y: Any) -> np.dtype[Any]:
        return dtypes.result_type(x, y)

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        return (Spec(broadcast_shapes(self, ("x", "y"), (x, y)), self.result(x, y)),)

    def compute(self, xp: Any, x: Any, y: Any) -> Any:
        raise TypeError

    def dx(self, xp: Any, dz: Any, saved: Any) -> Any:
        return None

    def dy(self, xp: Any, dz: Any, saved: Any) -> Any:
        return None

    def forward(self, xp: Any, x: Any, y: Any) -> tuple[Any, ...]:
        if x.dtype != y.dtype:
            dtype = self.result(x, y)
            x, y = x.astype(dtype), y.astype(dtype)
        return (self.compute(xp, x, y),)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        dz = dys[0]
        x, y = saved.specs
        return (
            unbroadcast(self.dx(xp, dz, saved), x) if needs[0] else None,
            unbroadcast(self.dy(xp, dz, saved), y) if needs[1] else None,
        )

    def twin(self, torch: Any, x: Any, y: Any) -> Any:
        return getattr(torch, self.name)(x, y)

    domain: ClassVar[tuple[float, float]] = (-2.0, 2.0)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        op, (low, high) = cls(), cls.domain
        shapes: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
            ((3, 5), (3, 5)), ((2, 3, 4), (3, 1)), ((4,), (2, 3, 4)), ((2, 1), (1, 3)),
            ((), (3,)), ((), ()), ((0, 3), (3,)), ((1, 3), (0, 3)),
        ]  # fmt: skip
        for a, b in shapes:
            yield Case(f"{list(a)} with {list(b)}", op, uniform(low, high, a, b))
        yield Case("no common shape", op, normal((2, 3), (4,)), error=f"{op.name}: shapes x .*y")
