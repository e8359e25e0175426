"""Elementwise functions that keep the dtype: abs, square, sign, rounding, clamp."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core import dtypes
from gpudl.core.op import Case, Op, Spec, is_floating
from gpudl.core.public import Number, public
from gpudl.ops.elementwise.base import (
    Unary,
    broadcast_shapes,
    fixed,
    operands,
    unbroadcast,
    uniform,
)


class SameDtype(Unary):
    """Base of functions that keep the dtype, integers too."""

    def result(self, x: Any) -> np.dtype[Any]:
        return x.dtype  # type: ignore[no-any-return]


class AbsOp(SameDtype):
    """y = |x|; the gradient at 0 is 0."""

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.abs(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy * sign_of(xp, saved.x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        yield Case("integers", cls(), fixed([-1, 0, 2]), golden=(np.array([1, 0, 2]),))
        want = (np.array([np.nan, 0, np.inf], np.float32),)
        yield Case("special values", cls(), fixed([np.nan, 0.0, -np.inf]), golden=want)


class SquareOp(SameDtype):
    """y = x²."""

    def compute(self, xp: Any, x: Any) -> Any:
        return x * x

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return 2 * dy * saved.x


class Step(SameDtype):
    """Base of piecewise constant functions, with gradient 0."""

    saves = ()

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return xp.zeros_like(dy)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case("draws", cls(), uniform(0.6, 0.9, (3, 4)))
        x = [-1.5, -0.5, -0.2, 0.5, 1.5, 2.5, np.inf]
        want = getattr(np, cls.__name__.removesuffix("Op").lower())(np.array(x, np.float32))
        yield Case(
            "numbers", cls(), lambda rng: (np.array(x, np.float32) + np.float32(0),), (want,)
        )
        yield Case("integers", cls(), fixed([-2, 0, 3]))


def sign_of(xp: Any, x: Any) -> Any:
    """-1, 0 or 1; 0 for NaN, as in PyTorch."""
    sign = xp.sign(x)
    return xp.where(x != x, x.dtype.type(0), sign) if is_floating(x.dtype) else sign


class SignOp(Step):
    """y = -1, 0 or 1; 0 for NaN, as in PyTorch."""

    def compute(self, xp: Any, x: Any) -> Any:
        return sign_of(xp, x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        want = (np.array([0, -1, 0], np.float32),)
        yield Case("NaN", cls(), fixed([np.nan, -np.inf, -0.0]), golden=want)


class FloorOp(Step):
    """y = ⌊x⌋."""

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.floor(x).astype(x.dtype, copy=False)


class CeilOp(Step):
    """y = ⌈x⌉."""

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.ceil(x).astype(x.dtype, copy=False)


class RoundOp(Step):
    """y = x rounded to the nearest integer, halves to even."""

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.rint(x).astype(x.dtype, copy=False)


class TruncOp(Step):
    """y = x rounded towards zero."""

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.trunc(x).astype(x.dtype, copy=False)


class ClampOp(Op):
    """y = x clamped to [low, high] (None: no bound); the gradient passes inside and at bounds."""

    saves = ("x",)
    low: float | None
    high: float | None

    def result(self, x: Any) -> np.dtype[Any]:
        is_float = any(isinstance(b, float) for b in (self.low, self.high))
        return dtypes.number_type(0.0 if is_float else 0, x.dtype)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if self.low is None and self.high is None:
            raise ValueError("clamp: min and max are None; give at least one")
        return (Spec(x.shape, self.result(x)),)

    def forward(self, xp: Any, x: Any) -> tuple[Any, ...]:
        dtype = self.result(x)
        y = x.astype(dtype)
        if self.low is not None:
            y = xp.maximum(y, dtype.type(self.low))
        if self.high is not None:
            y = xp.minimum(y, dtype.type(self.high))
        return (y,)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        x, dx = saved.x, dys[0]
        if self.low is not None:
            dx = xp.where(x >= self.low, dx, 0)
        if self.high is not None:
            dx = xp.where(x <= self.high, dx, 0)
        return (dx.astype(x.dtype, copy=False),)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.clamp(x, self.low, self.high)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        for low, high in [(-1.0, 1.0), (None, 0.5), (0.5, None), (1.0, -1.0)]:
            yield Case(f"{low} to {high}", cls(low, high), uniform(-2, 2, (4, 5)))
        x, y = [-3.0, -1.0, 1.0, np.nan], np.array([-1, -1, 1, np.nan], np.float32)
        yield Case("numbers", cls(-1.0, 2.0), fixed(x), golden=(y,))
        yield Case("integers", cls(0, 2), fixed([-1, 1, 3]), golden=(np.array([0, 1, 2]),))
        yield Case("float bound", cls(0.5, None), fixed([0, 1]))
        yield Case("no bound", cls(None, None), fixed([1.0]), error="clamp: min and max are None")


class ClampBetweenOp(Op):
    """z = x clamped to [low, high], with broadcasting; either tensor may be absent. If they cross,
    high wins. The gradient goes to the input that z equals; it is 0 where x is NaN."""

    inputs = ("x", "low?", "high?")
    outputs = ("z",)
    saves = ("x", "low", "high")

    def infer(self, x: Spec, low: Spec | None, high: Spec | None) -> tuple[Spec, ...]:
        named = {"x": x, "low": low, "high": high}
        given = {name: spec for name, spec in named.items() if spec is not None}
        shape = broadcast_shapes(self, tuple(given), tuple(given.values()))
        return (Spec(shape, dtypes.result_type(*given.values())),)

    def forward(self, xp: Any, x: Any, low: Any, high: Any) -> tuple[Any, ...]:
        dtype = dtypes.result_type(*(a for a in (x, low, high) if a is not None))
        z = x if low is None else xp.maximum(x.astype(dtype), low.astype(dtype))
        z = z if high is None else xp.minimum(z.astype(dtype), high.astype(dtype))
        return (z,)

    def backward(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
        x, low, high, dz = saved.x, saved.low, saved.high, dys[0]
        above, below = (True if low is None else x >= low), (True if high is None else x <= high)
        to_x, to_low, to_high = above & below & (x == x), False, False
        if low is not None:
            to_low = (x < low) if high is None else (x < low) & (low < high)
        if high is not None:
            to_high = (x > high) if low is None else (x > high) | (high < low)
        return tuple(
            unbroadcast(xp.where(to, dz, 0).astype(dz.dtype), spec) if need and spec else None
            for to, spec, need in zip((to_x, to_low, to_high), saved.specs, needs, strict=True)
        )

    def twin(self, torch: Any, x: Any, low: Any, high: Any) -> Any:
        return torch.clamp(x, low, high)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        op, shapes = cls(), ((2, 3, 4), (3, 1), (4,))
        yield Case("broadcast", op, uniform(-2, 2, *shapes))
        draw = uniform(-2, 2, (3, 4), (4,))
        yield Case("low", op, lambda rng: (*draw(rng), None))
        yield Case("high", op, lambda rng: (draw(rng)[0], None, draw(rng)[1]))
        nan = np.nan
        x, low, high = [nan, 1.0, 5, 2, 3], [0.0, nan, 0, 2, 4], [2.0, 2, 3, 2, 1]
        z = np.array([nan, nan, 3, 2, 1], np.float32)
        yield Case("NaN and ties", op, fixed(x, low, high), golden=(z,))
        error = "clamp_between: shapes x .*low"
        yield Case("no common shape", op, uniform(-1, 1, (2, 3), (4,), (4,)), error=error)


@public("gpudl", "Tensor", special=("__abs__",))
def abs(input: Tensor) -> Tensor:
    """|input|, elementwise; the gradient at 0 is 0."""
    return apply(AbsOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def abs_(self: Tensor) -> Tensor:
    """abs(), in place."""
    return self._changed_in_place(abs(self))


@public("gpudl", "Tensor")
def absolute(input: Tensor) -> Tensor:
    """abs(), under NumPy's name."""
    return abs(input)


@public("gpudl", "Tensor")
def square(input: Tensor) -> Tensor:
    """input², elementwise; int64 for bool."""
    if input.dtype == np.bool_:
        input = input.long()
    return apply(SquareOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def square_(self: Tensor) -> Tensor:
    """square(), in place."""
    return self._changed_in_place(square(self))


@public("gpudl", "Tensor")
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1, elementwise; 0 for NaN."""
    return apply(SignOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def sign_(self: Tensor) -> Tensor:
    """sign(), in place."""
    return self._changed_in_place(sign(self))


@public("gpudl", "Tensor")
def floor(input: Tensor) -> Tensor:
    """The largest integer not above input, elementwise."""
    return apply(FloorOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def floor_(self: Tensor) -> Tensor:
    """floor(), in place."""
    return self._changed_in_place(floor(self))


@public("gpudl", "Tensor")
def ceil(input: Tensor) -> Tensor:
    """The smallest integer not below input, elementwise."""
    return apply(CeilOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def ceil_(self: Tensor) -> Tensor:
    """ceil(), in place."""
    return self._changed_in_place(ceil(self))


@public("gpudl", "Tensor")
def round(input: Tensor) -> Tensor:
    """The nearest integer, elementwise; halves round to even."""
    return apply(RoundOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def round_(self: Tensor) -> Tensor:
    """round(), in place."""
    return self._changed_in_place(round(self))


@public("gpudl", "Tensor")
def trunc(input: Tensor) -> Tensor:
    """input rounded towards zero, elementwise."""
    return apply(TruncOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def trunc_(self: Tensor) -> Tensor:
    """trunc(), in place."""
    return self._changed_in_place(trunc(self))


@public("gpudl", "Tensor")
def clamp(
    input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None
) -> Tensor:
    """input clamped to [min, max]; the gradient passes inside and at the bounds."""
    if not isinstance(min, Tensor) and not isinstance(max, Tensor):
        return apply(ClampOp.of(min, max), input)  # type: ignore[no-any-return]
    low, high = (b if b is None else operands(input, b)[1] for b in (min, max))
    return apply(ClampBetweenOp.of(), input, low, high)  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def clip(
    input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None
) -> Tensor:
    """clamp(), under NumPy's name."""
    return clamp(input, min, max)


@public("Tensor")
def clamp_(
    self: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None
) -> Tensor:
    """clamp(), in place."""
    return self._changed_in_place(clamp(self, min, max))


@public("gpudl", "Tensor")
def clamp_min(input: Tensor, min: Number) -> Tensor:
    """input, raised to at least `min`."""
    return clamp(input, min=min)


@public("gpudl", "Tensor")
def clamp_max(input: Tensor, max: Number) -> Tensor:
    """input, lowered to at most `max`."""
    return clamp(input, max=max)
