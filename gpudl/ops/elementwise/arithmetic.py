"""Arithmetic of two tensors, or a tensor and a number: + - * / // % **.

Neither these nor exp, log and the like have hand-written kernels: on cuda they run as CuPy's
elementwise kernels, which move the same bytes, and which take every dtype, promote and broadcast.
Training rarely needs them, because activations, losses, norms with a residual, updates and clipping
are fused kernels. The only frequent one is the addition of a residual without a norm.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core import dtypes
from gpudl.core.op import Case, Spec, is_floating
from gpudl.core.public import Number, public
from gpudl.ops.elementwise.base import Binary, Unary, fixed, operands
from gpudl.ops.elementwise.rounding import trunc


class AddOp(Binary):
    """z = x + y."""

    def compute(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.add(x, y)

    def dx(self, xp: Any, dz: Any, saved: Any) -> Any:
        return dz

    dy = dx

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        yield from promotion_cases(cls())


class SubOp(Binary):
    """z = x - y."""

    def infer(self, x: Spec, y: Spec) -> tuple[Spec, ...]:
        if x.dtype == y.dtype == np.bool_:
            raise TypeError("sub: x and y are bool; use logical_xor, or .int() first")
        return super().infer(x, y)

    def compute(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.subtract(x, y)

    def dx(self, xp: Any, dz: Any, saved: Any) -> Any:
        return dz

    def dy(self, xp: Any, dz: Any, saved: Any) -> Any:
        return -dz

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        yield Case("bool", cls(), fixed([True], [False]), error="sub: x and y are bool")


class MulOp(Binary):
    """z = x·y."""

    saves = ("x", "y")
    saved_for: ClassVar = {"x": ("y",), "y": ("x",)}

    def compute(self, xp: Any, x: Any, y: Any) -> Any:
        return xp.multiply(x, y)

    def dx(self, xp: Any, dz: Any, saved: Any) -> Any:
        return dz * saved.y

    def dy(self, xp: Any, dz: Any, saved: Any) -> Any:
        return dz * saved.x


class DivOp(Binary):
    """z = x/y; integers divide to float32."""

    saves = ("x", "y")
    saved_for: ClassVar = {"x": ("y",)}
    domain = (0.5, 2.0)

    def result(self, x: Any, y: Any) -> np.dtype[Any]:
        dtype = dtypes.result_type(x, y)
        return dtype if is_floating(dtype) else dtypes.float32

    def forward(self, xp: Any, x: Any, y: Any) -> tuple[Any, ...]:
        dtype = self.result(x, y)
        return (xp.true_divide(x.astype(dtype, copy=False), y.astype(dtype, copy=False)),)

    def dx(self, xp: Any, dz: Any, saved: Any) -> Any:
        return dz / saved.y

    def dy(self, xp: Any, dz: Any, saved: Any) -> Any:
        return -dz * (saved.x / saved.y / saved.y)  # y² may overflow or vanish

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        want = (np.array([0.5, np.inf], np.float32),)
        yield Case("integers", cls(), fixed([1, 1], [2, 0]), golden=want)


def refuse_zero(op: Binary, y: Any) -> None:
    """Raise ZeroDivisionError for integers, which have no infinity, as Python does."""
    if y.dtype.kind in "iub" and not y.all():
        raise ZeroDivisionError(f"{op.name}: integer y holds 0; use floats to get inf or nan")


class FloorDivideOp(Binary):
    """z = ⌊x/y⌋."""

    backward = None  # type: ignore[assignment]
    domain = (0.5, 5.0)

    def compute(self, xp: Any, x: Any, y: Any) -> Any:
        refuse_zero(self, y)
        return xp.floor_divide(x, y)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        x, y, z = [7, -7, 7, -7], [2, 2, -2, -2], np.array([3, -4, -4, 3])
        yield Case("signs", cls(), fixed(x, y), golden=(z,))


class RemainderOp(Binary):
    """z = x - y·⌊x/y⌋: the remainder has y's sign."""

    saves = ("x", "y")
    saved_for: ClassVar = {"x": ("y",), "y": ("y",)}
    domain = (0.5, 5.0)

    def compute(self, xp: Any, x: Any, y: Any) -> Any:
        refuse_zero(self, y)
        return xp.remainder(x, y)

    def dx(self, xp: Any, dz: Any, saved: Any) -> Any:
        return dz

    def dy(self, xp: Any, dz: Any, saved: Any) -> Any:
        return -dz * xp.floor_divide(saved.x, saved.y)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        x, y, z = [7, -7, 7, -7], [3, 3, -3, -3], np.array([1, 2, -2, -1])
        yield Case("signs", cls(), fixed(x, y), golden=(z,))


class FmodOp(RemainderOp):
    """z = x - y·trunc(x/y): the remainder has x's sign."""

    def compute(self, xp: Any, x: Any, y: Any) -> Any:
        refuse_zero(self, y)
        return xp.fmod(x, y)

    def dy(self, xp: Any, dz: Any, saved: Any) -> Any:
        return -dz * xp.trunc(saved.x / saved.y)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from Binary.cases.__func__(cls)  # type: ignore[attr-defined]
        x, y, z = [7, -7, 7, -7], [3, 3, -3, -3], np.array([1, -1, 1, -1])
        yield Case("signs", cls(), fixed(x, y), golden=(z,))


class PowOp(Binary):
    """z = x^y."""

    saves = ("x", "y", "z")
    saved_for: ClassVar = {"x": ("x", "y"), "y": ("x", "y"), "z": ("y",)}
    domain = (0.5, 2.0)

    def compute(self, xp: Any, x: Any, y: Any) -> Any:
        if isinstance(y, np.generic):  # a Python number: common exponents have faster forms
            if y == 2:
                return x * x
            if y == 0.5:
                return xp.sqrt(x)
        return xp.power(x, y)

    def dx(self, xp: Any, dz: Any, saved: Any) -> Any:
        x, y = saved.x, saved.y
        if isinstance(y, np.generic):
            if y == 0:
                return xp.zeros_like(dz)
            return dz * (x * y if y == 2 else self.compute(xp, x, y - y.dtype.type(1)) * y)
        return xp.where(y == 0, 0, dz * y * xp.power(x, y - 1))

    def dy(self, xp: Any, dz: Any, saved: Any) -> Any:
        x, y, z = saved.x, saved.y, saved.z
        return dz * xp.where((x == 0) & (y >= 0), 0, z * xp.log(x))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        for y in (2.0, 3.0, 0.5, -1.0):
            exponent = np.float32(y)
            yield Case(f"to the {y}", cls(), lambda rng, e=exponent: (draw_base(rng), e))
        x, y2 = [0.0, 2.0], [2.0, 0.0]
        yield Case("zeros", cls(), fixed(x, y2), golden=(np.array([0, 1], np.float32),))


def draw_base(rng: np.random.Generator) -> Any:
    return rng.uniform(0.5, 2.0, (3, 4)).astype(np.float32)


class NegOp(Unary):
    """y = -x."""

    saves = ()

    def result(self, x: Any) -> np.dtype[Any]:
        return x.dtype  # type: ignore[no-any-return]

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if x.dtype == np.bool_:
            raise TypeError("neg: x is bool; use logical_not (~x)")
        return (x,)

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.negative(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return -dy

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from super().cases()
        yield Case("bool", cls(), fixed([True]), error="neg: x is bool")


def promotion_cases(op: Any) -> Iterator[Case]:
    """Pairs of dtypes and ranks, whose promotion the twin checks against PyTorch's."""
    kinds = ("float32", "int64", "int32", "uint8", "int8", "bool")
    for i, a in enumerate(kinds):
        for b in kinds[i + 1 :]:
            for shape in ((2,), ()):
                made = fixed(np.ones(2, a), np.ones(shape, b))
                yield Case(f"{a} with {b}{list(shape)}", op, made)


@public("gpudl", "Tensor", special=("__add__", "__radd__"))
def add(input: Tensor | Number, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """input + alpha * other."""
    a, b = operands(input, other)
    return apply(AddOp.of(), a, b if alpha == 1 else mul(b, alpha))  # type: ignore[no-any-return]


@public("Tensor", special=("__iadd__",))
def add_(self: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """add(), in place."""
    return self._changed_in_place(add(self, other, alpha=alpha))


@public("gpudl", "Tensor", special=("__sub__",))
def sub(input: Tensor | Number, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """input - alpha * other."""
    a, b = operands(input, other)
    return apply(SubOp.of(), a, b if alpha == 1 else mul(b, alpha))  # type: ignore[no-any-return]


@public("Tensor", special=("__isub__",))
def sub_(self: Tensor, other: Tensor | Number, *, alpha: Number = 1) -> Tensor:
    """sub(), in place."""
    return self._changed_in_place(sub(self, other, alpha=alpha))


@public("Tensor")
def __rsub__(self: Tensor, other: Tensor | Number) -> Tensor:
    """other - self."""
    return sub(other, self)


@public("gpudl", "Tensor", special=("__mul__", "__rmul__"))
def mul(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """input * other."""
    return apply(MulOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def multiply(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """mul(), under NumPy's name."""
    return mul(input, other)


@public("Tensor", special=("__imul__",))
def mul_(self: Tensor, other: Tensor | Number) -> Tensor:
    """mul(), in place."""
    return self._changed_in_place(mul(self, other))


@public("gpudl", "Tensor", special=("__truediv__",))
def div(
    input: Tensor | Number, other: Tensor | Number, *, rounding_mode: str | None = None
) -> Tensor:
    """input / other; integers divide to float32. rounding_mode: None, "floor" or "trunc"."""
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode is None:  # ints become floats: -3 must not wrap around in uint8 / -3
        input, other = (float(n) if isinstance(n, int) else n for n in (input, other))
    a, b = operands(input, other)
    quotient: Tensor = apply(DivOp.of(), a, b)
    if rounding_mode is None:
        return quotient
    if rounding_mode != "trunc":
        raise ValueError(f"div: rounding_mode is {rounding_mode!r}; use None, 'floor' or 'trunc'")
    return trunc(quotient).to(dtypes.result_type(a, b))


@public("gpudl", "Tensor")
def true_divide(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """div(), under NumPy's name."""
    return div(input, other)


@public("Tensor", special=("__itruediv__",))
def div_(self: Tensor, other: Tensor | Number, *, rounding_mode: str | None = None) -> Tensor:
    """div(), in place."""
    return self._changed_in_place(div(self, other, rounding_mode=rounding_mode))


@public("Tensor")
def __rtruediv__(self: Tensor, other: Tensor | Number) -> Tensor:
    """other / self."""
    return div(other, self)


@public("gpudl", "Tensor", special=("__floordiv__",))
def floor_divide(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """⌊input / other⌋, without a gradient."""
    return apply(FloorDivideOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("Tensor", special=("__ifloordiv__",))
def floor_divide_(self: Tensor, other: Tensor | Number) -> Tensor:
    """floor_divide(), in place."""
    return self._changed_in_place(floor_divide(self, other))


@public("Tensor")
def __rfloordiv__(self: Tensor, other: Tensor | Number) -> Tensor:
    """⌊other / self⌋."""
    return floor_divide(other, self)


@public("gpudl", "Tensor", special=("__mod__",))
def remainder(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """The remainder of input / other, with the sign of other."""
    return apply(RemainderOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def fmod(input: Tensor | Number, other: Tensor | Number) -> Tensor:
    """The remainder of input / other, with the sign of input."""
    return apply(FmodOp.of(), *operands(input, other))  # type: ignore[no-any-return]


@public("Tensor", special=("__imod__",))
def remainder_(self: Tensor, other: Tensor | Number) -> Tensor:
    """remainder(), in place."""
    return self._changed_in_place(remainder(self, other))


@public("Tensor")
def __rmod__(self: Tensor, other: Tensor | Number) -> Tensor:
    """The remainder of other / self."""
    return remainder(other, self)


@public("gpudl", "Tensor", special=("__pow__",))
def pow(input: Tensor | Number, exponent: Tensor | Number) -> Tensor:
    """input to the power of exponent. Raises ValueError for integers to a negative power."""
    negative = isinstance(exponent, int) and exponent < 0
    if negative and isinstance(input, Tensor) and not is_floating(input.dtype):
        raise ValueError(
            f"pow: exponent is {exponent}; it must not be negative for {input.dtype.name}; use "
            "input.float()"
        )
    return apply(PowOp.of(), *operands(input, exponent))  # type: ignore[no-any-return]


@public("Tensor", special=("__ipow__",))
def pow_(self: Tensor, exponent: Tensor | Number) -> Tensor:
    """pow(), in place."""
    return self._changed_in_place(pow(self, exponent))


@public("Tensor")
def __rpow__(self: Tensor, other: Tensor | Number) -> Tensor:
    """other to the power of self."""
    return pow(other, self)


@public("gpudl", "Tensor", special=("__neg__",))
def neg(input: Tensor) -> Tensor:
    """-input."""
    return apply(NegOp.of(), input)  # type: ignore[no-any-return]


@public("gpudl", "Tensor")
def negative(input: Tensor) -> Tensor:
    """neg(), under NumPy's name."""
    return neg(input)


@public("Tensor")
def neg_(self: Tensor) -> Tensor:
    """neg(), in place."""
    return self._changed_in_place(neg(self))


@public("Tensor")
def __pos__(self: Tensor) -> Tensor:
    """The tensor itself."""
    return self
