"""Comparisons and logic, which return bool without a gradient; maximum and minimum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core import dtypes
from gpudl.core.op import Case, Spec
from gpudl.core.public import Number, public
from gpudl.ops.elementwise.base import Binary, Unary, fixed, operands, uniform

X, Y = [1.0, 2.0, 3.0, np.nan], [2.0, 2.0, 2.0, np.nan]


class Comparison(Binary):
    """z = function(x, y) as bool. function: its name in NumPy and CuPy; golden: its results for
    X and Y."""

    backward = None  # type: ignore[assignment]
    function: ClassVar[str]
    golden: ClassVar[tuple[bool, ...]]

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        return (Spec(super().infer(x, y)[0].shape, dtypes.bool_),)

    def compute(self, xp: Any, x: Any, y: Any) -> Any:
        return getattr(xp, self.function)(x, y)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        yield Case("special values", cls(), fixed(X, Y), golden=(np.array(cls.golden),))
        yield Case("integer with float", cls(), fixed([1, 2, 3], [1.5, 2.0, 2.5]))


class EqOp(Comparison):
    """z = (x == y)."""

    function = "equal"
    golden = (False, True, False, False)


class NeOp(Comparison):
    """z = (x != y)."""

    function = "not_equal"
    golden = (True, False, True, True)


class LtOp(Comparison):
    """z = (x < y)."""

    function = "less"
    golden = (True, False, False, False)


class LeOp(Comparison):
    """z = (x <= y)."""

    function = "less_equal"
    golden = (True, True, False, False)


class GtOp(Comparison):
    """z = (x > y)."""

    function = "greater"
    golden = (False, False, True, False)


class GeOp(Comparison):
    """z = (x >= y)."""

    function = "greater_equal"
    golden = (False, True, True, False)


class LogicalAndOp(Comparison):
    """z = x and y; nonzero is true."""

    function = "logical_and"
    golden = (True, True, True, True)


class LogicalOrOp(Comparison):
    """z = x or y."""

    function = "logical_or"
    golden = (True, True, True, True)


class LogicalXorOp(Comparison):
    """z = either x or y, but not both."""

    function = "logical_xor"
    golden = (False, False, False, False)


class Extreme(Binary):
    """The larger or smaller of x and y; NaN propagates. If both are equal, each gets half the
    gradient."""

    saves = ("x", "y")

    def loses(self, a: Any, b: Any) -> Any:
        """Where the result is b and not a."""
        raise TypeError

    def share(self, xp: Any, dz: Any, a: Any, b: Any) -> Any:
        half = dz * dz.dtype.type(0.5)
        return xp.where(self.loses(a, b), 0, xp.where(a == b, half, dz)).astype(dz.dtype)

    def dx(self, xp: Any, dz: Any, saved: Any) -> Any:
        return self.share(xp, dz, saved.x, saved.y)

    def dy(self, xp: Any, dz: Any, saved: Any) -> Any:
        return self.share(xp, dz, saved.y, saved.x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        z = [2.0, 2.0, np.nan] if cls.__name__ == "MaximumOp" else [1.0, 2.0, np.nan]
        made = fixed([1.0, 2.0, np.nan], [2.0, 2.0, 1.0])
        yield Case("ties", cls(), made, golden=(np.array(z, np.float32),))


class MaximumOp(Extreme):
    """z = max(x, y)."""

    def compute(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.maximum(x, y)

    def loses(self, a: Any, b: Any) -> Any:
        return a < b


class MinimumOp(Extreme):
    """z = min(x, y)."""

    def compute(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.minimum(x, y)

    def loses(self, a: Any, b: Any) -> Any:
        return a > b


class Predicate(Unary):
    """y = function(x) as bool."""

    saves = ()
    backward = None  # type: ignore[assignment]
    function: ClassVar[str]
    golden: ClassVar[tuple[bool, ...]]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        return (Spec(x.shape, dtypes.bool_),)

    def compute(self, xp: Any, x: Any) -> Any:
        return getattr(xp, self.function)(x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield Case("draws", cls(), uniform(-1, 1, (3, 4)))
        x = [0.0, 1.0, np.nan, np.inf, -np.inf]
        yield Case("special values", cls(), fixed(x), golden=(np.array(cls.golden),))
        yield Case("integers", cls(), fixed([0, 1]))


class IsnanOp(Predicate):
    """y = whether x is NaN."""

    function = "isnan"
    golden = (False, False, True, False, False)


class IsinfOp(Predicate):
    """y = whether x is infinite."""

    function = "isinf"
    golden = (False, False, False, True, True)


class IsfiniteOp(Predicate):
    """y = whether x is neither infinite nor NaN."""

    function = "isfinite"
    golden = (True, True, False, False, False)


class LogicalNotOp(Predicate):
    """y = whether x is zero."""

    function = "logical_not"
    golden = (True, False, False, False, False)


@public("gpudl", "Tensor")
def eq(input: Tensor, other: Tensor | Number) -> Tensor:
    """input == other, elementwise."""
    return apply(EqOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def ne(input: Tensor, other: Tensor | Number) -> Tensor:
    """input != other, elementwise."""
    return apply(NeOp.of(), *operands(input, other))  # type: ignore[no-any-return]


def _comparable(other: Any) -> bool:
    """Whether to compare elements; other objects are left to Python, so `x == None` is False."""
    return isinstance(other, (Tensor, bool, int, float)) or hasattr(other, "__array__")


@public("Tensor")
def __eq__(self: Tensor, other: Any) -> Tensor:
    """eq() if other is a tensor or a number."""
    return eq(self, other) if _comparable(other) else NotImplemented


@public("Tensor")
def __ne__(self: Tensor, other: Any) -> Tensor:
    """ne() if other is a tensor or a number."""
    return ne(self, other) if _comparable(other) else NotImplemented


@public("gpudl", "Tensor", special=("__lt__",))
def lt(input: Tensor, other: Tensor | Number) -> Tensor:
    """input < other, elementwise."""
    return apply(LtOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("gpudl", "Tensor", special=("__le__",))
def le(input: Tensor, other: Tensor | Number) -> Tensor:
    """input <= other, elementwise."""
    return apply(LeOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("gpudl", "Tensor", special=("__gt__",))
def gt(input: Tensor, other: Tensor | Number) -> Tensor:
    """input > other, elementwise."""
    return apply(GtOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("gpudl", "Tensor", special=("__ge__",))
def ge(input: Tensor, other: Tensor | Number) -> Tensor:
    """input >= other, elementwise."""
    return apply(GeOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger of both, elementwise; NaN propagates."""
    return apply(MaximumOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of both, elementwise; NaN propagates."""
    return apply(MinimumOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def logical_and(input: Tensor, other: Tensor | Number) -> Tensor:
    """input and other, elementwise; nonzero is true."""
    return apply(LogicalAndOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def logical_or(input: Tensor, other: Tensor | Number) -> Tensor:
    """input or other, elementwise."""
    return apply(LogicalOrOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def logical_xor(input: Tensor, other: Tensor | Number) -> Tensor:
    """Either input or other, but not both, elementwise."""
    return apply(LogicalXorOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def logical_not(input: Tensor) -> Tensor:
    """Whether each element is zero or False."""
    return apply(LogicalNotOp.of(), input)  # type: ignore[no-any-return]


def _require_bool(sign: str, *conditions: Any) -> None:
    """Raise TypeError unless all are bool: & | ^ ~ combine conditions, not bits of integers."""
    for operand in conditions:
        if getattr(operand, "dtype", None) != np.bool_ and not isinstance(operand, bool):
            kind = getattr(operand, "dtype", None) or type(operand).__name__
            raise TypeError(f"{sign}: operand is {kind}; it must be bool (compare first: x > 0)")


@public("Tensor", special=("__rand__",))
def __and__(self: Tensor, other: Tensor | bool) -> Tensor:
    """logical_and() of bool tensors."""
    _require_bool("&", self, other)
    return logical_and(self, other)


@public("Tensor", special=("__ror__",))
def __or__(self: Tensor, other: Tensor | bool) -> Tensor:
    """logical_or() of bool tensors."""
    _require_bool("|", self, other)
    return logical_or(self, other)


@public("Tensor", special=("__rxor__",))
def __xor__(self: Tensor, other: Tensor | bool) -> Tensor:
    """logical_xor() of bool tensors."""
    _require_bool("^", self, other)
    return logical_xor(self, other)


@public("Tensor")
def __invert__(self: Tensor) -> Tensor:
    """logical_not() of a bool tensor."""
    _require_bool("~", self)
    return logical_not(self)


@public("gpudl", "Tensor")
def isnan(input: Tensor) -> Tensor:
    """Whether each element is NaN."""
    return apply(IsnanOp.of(), input)  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def isinf(input: Tensor) -> Tensor:
    """Whether each element is infinite."""
    return apply(IsinfOp.of(), input)  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def isfinite(input: Tensor) -> Tensor:
    """Whether each element is neither infinite nor NaN."""
    return apply(IsfiniteOp.of(), input)  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether input and other have the same shape and elements."""
    return input.shape == other.shape and bool(eq(input, other).numpy().all())


@public("gpudl", "Tensor")
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """|input - other| <= atol + rtol·|other|, elementwise; equal infinities are close."""
    a, b = operands(input, other)
    xp = a.device.xp
    return Tensor.from_array(xp.isclose(a.array, b.array, rtol, atol, equal_nan), a.device)


@public("gpudl", "Tensor")
def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """Whether all elements are close, as in isclose()."""
    return bool(isclose(input, other, rtol, atol, equal_nan).numpy().all())
