"""Smooth elementwise functions of one tensor: exponentials, logarithms, roots, trigonometry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Case
from gpudl.core.public import public
from gpudl.ops.elementwise.base import Unary, fixed


class ExpOp(Unary):
    """y = e^x."""

    saves = ("y",)

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.exp(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy * saved.y


class Expm1Op(Unary):
    """y = e^x - 1, accurate near 0."""

    saves = ("y",)

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.expm1(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy * (saved.y + 1)


class LogOp(Unary):
    """y = ln x."""

    domain = (0.5, 3.0)

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.log(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy / saved.x

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        want = (np.array([0, -np.inf, np.nan, np.inf], np.float32),)
        yield Case("special values", cls(), fixed([1.0, 0.0, -1.0, np.inf]), golden=want)
        yield Case("integers", cls(), fixed([1, 1]), golden=(np.zeros(2, np.float32),))


class Log2Op(LogOp):
    """y = log₂ x."""

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.log2(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy / (saved.x * saved.x.dtype.type(np.log(2)))


class Log10Op(LogOp):
    """y = log₁₀ x."""

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.log10(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy / (saved.x * saved.x.dtype.type(np.log(10)))


class Log1pOp(Unary):
    """y = ln(1 + x), accurate near 0."""

    domain = (-0.5, 3.0)

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.log1p(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy / (saved.x + 1)


class SqrtOp(Unary):
    """y = √x."""

    saves = ("y",)
    domain = (0.5, 3.0)

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.sqrt(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy / (2 * saved.y)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        want = (np.array([1, 2, np.inf], np.float32),)
        yield Case("numbers", cls(), fixed([1.0, 4.0, np.inf]), golden=want)


class RsqrtOp(Unary):
    """y = 1/√x."""

    saves = ("y",)
    domain = (0.5, 3.0)

    def compute(self, xp: Any, x: Any) -> Any:
        return 1 / xp.sqrt(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        y = saved.y
        return dy * y * y * y * y.dtype.type(-0.5)


class ReciprocalOp(Unary):
    """y = 1/x."""

    saves = ("y",)
    domain = (0.5, 3.0)

    def compute(self, xp: Any, x: Any) -> Any:
        return 1 / x

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return -dy * saved.y * saved.y


class SinOp(Unary):
    """y = sin x."""

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.sin(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy * xp.cos(saved.x)


class CosOp(Unary):
    """y = cos x."""

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.cos(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return -dy * xp.sin(saved.x)


class TanOp(Unary):
    """y = tan x."""

    saves = ("y",)
    domain = (-1.0, 1.0)

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.tan(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy * (1 + saved.y * saved.y)


class AtanOp(Unary):
    """y = arctan x."""

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.arctan(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy / (1 + saved.x * saved.x)


@public("gpudl", "Tensor")
def exp(input: Tensor) -> Tensor:
    """e^input, elementwise."""
    return apply(ExpOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def exp_(self: Tensor) -> Tensor:
    """exp(), in place."""
    return self._changed_in_place(exp(self))


@public("gpudl", "Tensor")
def expm1(input: Tensor) -> Tensor:
    """e^input - 1, elementwise; accurate near 0."""
    return apply(Expm1Op.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def expm1_(self: Tensor) -> Tensor:
    """expm1(), in place."""
    return self._changed_in_place(expm1(self))


@public("gpudl", "Tensor")
def log(input: Tensor) -> Tensor:
    """The natural logarithm, elementwise."""
    return apply(LogOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def log_(self: Tensor) -> Tensor:
    """log(), in place."""
    return self._changed_in_place(log(self))


@public("gpudl", "Tensor")
def log2(input: Tensor) -> Tensor:
    """The logarithm to base 2, elementwise."""
    return apply(Log2Op.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def log2_(self: Tensor) -> Tensor:
    """log2(), in place."""
    return self._changed_in_place(log2(self))


@public("gpudl", "Tensor")
def log10(input: Tensor) -> Tensor:
    """The logarithm to base 10, elementwise."""
    return apply(Log10Op.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def log10_(self: Tensor) -> Tensor:
    """log10(), in place."""
    return self._changed_in_place(log10(self))


@public("gpudl", "Tensor")
def log1p(input: Tensor) -> Tensor:
    """ln(1 + input), elementwise; accurate near 0."""
    return apply(Log1pOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def log1p_(self: Tensor) -> Tensor:
    """log1p(), in place."""
    return self._changed_in_place(log1p(self))


@public("gpudl", "Tensor")
def sqrt(input: Tensor) -> Tensor:
    """The square root, elementwise; NaN for negative numbers."""
    return apply(SqrtOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def sqrt_(self: Tensor) -> Tensor:
    """sqrt(), in place."""
    return self._changed_in_place(sqrt(self))


@public("gpudl", "Tensor")
def rsqrt(input: Tensor) -> Tensor:
    """1/√input, elementwise."""
    return apply(RsqrtOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def rsqrt_(self: Tensor) -> Tensor:
    """rsqrt(), in place."""
    return self._changed_in_place(rsqrt(self))


@public("gpudl", "Tensor")
def reciprocal(input: Tensor) -> Tensor:
    """1/input, elementwise."""
    return apply(ReciprocalOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def reciprocal_(self: Tensor) -> Tensor:
    """reciprocal(), in place."""
    return self._changed_in_place(reciprocal(self))


@public("gpudl", "Tensor")
def sin(input: Tensor) -> Tensor:
    """The sine of input in radians, elementwise."""
    return apply(SinOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def sin_(self: Tensor) -> Tensor:
    """sin(), in place."""
    return self._changed_in_place(sin(self))


@public("gpudl", "Tensor")
def cos(input: Tensor) -> Tensor:
    """The cosine of input in radians, elementwise."""
    return apply(CosOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def cos_(self: Tensor) -> Tensor:
    """cos(), in place."""
    return self._changed_in_place(cos(self))


@public("gpudl", "Tensor")
def tan(input: Tensor) -> Tensor:
    """The tangent of input in radians, elementwise."""
    return apply(TanOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def tan_(self: Tensor) -> Tensor:
    """tan(), in place."""
    return self._changed_in_place(tan(self))


@public("gpudl", "Tensor")
def atan(input: Tensor) -> Tensor:
    """The inverse tangent in radians, from -π/2 to π/2, elementwise."""
    return apply(AtanOp.of(), input)  # type: ignore[no-any-return]


@public("Tensor")
def atan_(self: Tensor) -> Tensor:
    """atan(), in place."""
    return self._changed_in_place(atan(self))


@public("gpudl", "Tensor")
def arctan(input: Tensor) -> Tensor:
    """atan(), under NumPy's name."""
    return atan(input)
