"""Functions of one tensor, elementwise: exp, log, roots, sines, rounding, clamp."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor
from gpudl.core import dtypes
from gpudl.core.op import Case, Op, Spec, is_floating
from gpudl.core.public import Number, public
from gpudl.ops.elementwise.base import Unary, fixed, in_place, uniform
from gpudl.ops.elementwise.comparison import maximum, minimum


class ExpOp(Unary):
    """y = e^x."""

    saves = ("y",)

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.exp(x)

    def derivative(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy * saved.y


class Expm1Op(Unary):
    """y = e^x - 1, exact near 0."""

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
    """y = ln(1 + x), exact near 0."""

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


class SameDtype(Unary):
    """Functions that leave integers integers."""

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
    """Functions that are constant but for jumps: their gradient is 0."""

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
    """-1, 0 or 1; of NaN 0, as in PyTorch."""
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
    """y = x rounded, halves to even."""

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.rint(x).astype(x.dtype, copy=False)


class TruncOp(Step):
    """y = x without its fraction."""

    def compute(self, xp: Any, x: Any) -> Any:
        return xp.trunc(x).astype(x.dtype, copy=False)


class ClampOp(Op):
    """y = x between low and high (None: no bound). The gradient passes inside and at the bounds."""

    saves = ("x",)
    low: float | None
    high: float | None

    def result(self, x: Any) -> np.dtype[Any]:
        is_float = any(isinstance(b, float) for b in (self.low, self.high))
        return dtypes.number_type(0.0 if is_float else 0, x.dtype)

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        if self.low is None and self.high is None:
            raise ValueError("clamp: min and max are None; one of them must be given")
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


def _function(op: type[Op], *names: str) -> Callable[[Tensor], Tensor]:
    """The function, method and in-place form of an operator without parameters."""

    def function(input: Tensor) -> Tensor:
        return apply(op.of(), input)  # type: ignore[no-any-return]

    name = names[0] if names else op.name
    function.__name__ = function.__qualname__ = name
    function.__doc__ = op.__doc__
    in_place(function, f"{name}_")
    return public("gpudl", "Tensor", names=names or (name,))(function)


exp = _function(ExpOp)
expm1 = _function(Expm1Op)
log = _function(LogOp)
log2 = _function(Log2Op)
log10 = _function(Log10Op)
log1p = _function(Log1pOp)
sqrt = _function(SqrtOp)
rsqrt = _function(RsqrtOp)
reciprocal = _function(ReciprocalOp)
sin = _function(SinOp)
cos = _function(CosOp)
tan = _function(TanOp)
atan = _function(AtanOp, "atan", "arctan")
abs = _function(AbsOp, "abs", "absolute", "__abs__")
square = _function(SquareOp)
sign = _function(SignOp)
floor = _function(FloorOp)
ceil = _function(CeilOp)
round = _function(RoundOp)
trunc = _function(TruncOp)


@public("gpudl", "Tensor", names=("clamp", "clip"))
def clamp(
    input: Tensor, min: Tensor | Number | None = None, max: Tensor | Number | None = None
) -> Tensor:
    """input, but at least `min` and at most `max`; the gradient passes inside and at the bounds."""
    if not isinstance(min, Tensor) and not isinstance(max, Tensor):
        return apply(ClampOp.of(min, max), input)  # type: ignore[no-any-return]
    if min is not None:
        input = maximum(input, min)  # type: ignore[arg-type]
    return input if max is None else minimum(input, max)  # type: ignore[arg-type]


@public("gpudl", "Tensor")
def clamp_min(input: Tensor, min: Number) -> Tensor:
    """input, but at least `min`."""
    return clamp(input, min=min)


@public("gpudl", "Tensor")
def clamp_max(input: Tensor, max: Number) -> Tensor:
    """input, but at most `max`."""
    return clamp(input, max=max)


in_place(clamp, "clamp_")
