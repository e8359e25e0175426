"""Activations that use exponentials: sigmoid, tanh, elu, softplus, gelu, silu and others."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core.op import Array, Case, Spec, require
from gpudl.core.public import public
from gpudl.ops.activation.base import NO_NAN, Activation, normal, run
from gpudl.ops.elementwise.erf import normal_integral, normal_integral_float32
from gpudl.ops.elementwise.quick_numpy import in_pieces

SELU_ALPHA = 1.6732632423543772848  # Klambauer et al. 2017, equation 14
SELU_SCALE = 1.0507009873554804934


class SigmoidOp(Activation):
    """y = 1 / (1 + exp(-x)). If the exponential overflows, y is its limit, 0."""

    saves = ("y",)

    def value(self, xp: Any, x: Any) -> Any:
        return 1 / (1 + xp.exp(-x))

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy * saved.y * (1 - saved.y)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.sigmoid(x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        e = 0.26894142136999512
        yield from cls.few_cases(e, 0.5, 0.88079707797788244, np.nan, 1, 0)
        yield Case("large", cls(), lambda rng: (normal(rng, (40,), 100),))


class TanhOp(Activation):
    """y = tanh(x)."""

    saves = ("y",)

    def value(self, xp: Any, x: Any) -> Any:
        return xp.tanh(x)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy * (1 - saved.y * saved.y)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.tanh(x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(-0.76159415595576489, 0, 0.96402758007581688, np.nan, 1, -1)
        yield Case("large", cls(), lambda rng: (normal(rng, (40,), 100),))


class SoftplusOp(Activation):
    """y = log(1 + exp(beta*x)) / beta, without overflow; x itself where beta*x > threshold."""

    beta: float = 1.0
    threshold: float = 20.0

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require(
            self.beta != 0,
            self,
            "beta",
            "is 0; it must not be 0, because the function divides by it",
        )
        return super().infer(x)

    def value(self, xp: Any, x: Any) -> Any:
        z = x * self.beta
        return xp.where(z > self.threshold, x, xp.logaddexp(z, xp.zeros_like(z)) / self.beta)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        z = saved.x * self.beta
        return xp.where(z > self.threshold, dy, dy / (1 + xp.exp(-z)))

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.nn.functional.softplus(x, self.beta, self.threshold)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        log2, at2 = 0.69314718055994529, 2.1269280110429727
        yield from cls.few_cases(0.31326168751822286, log2, at2, np.nan, np.inf, 0)
        yield Case("large", cls(), lambda rng: (normal(rng, (40,), 100),))
        yield Case("no threshold", cls.of(1.0, 1e9), lambda rng: (normal(rng, (40,), 100),))
        yield Case("beta 3, threshold 2", cls.of(3.0, 2.0), lambda rng: (normal(rng, (9, 11)),))
        yield Case("beta 0", cls.of(0.0), lambda rng: (normal(rng, (3,)),), error="beta is 0")


class ScaledTanhOp(Activation):
    """y = amplitude·tanh(slope·x). LeCun, Bottou, Bengio, Haffner 1998 (appendix A) use 1.7159 and
    2/3, so that f(±1) = ±1, where the curvature is largest."""

    saves = ("y",)
    FLOPS = 10
    amplitude: float = 1.7159
    slope: float = 2 / 3

    def infer(self, x: Spec) -> tuple[Spec, ...]:
        require(
            self.amplitude != 0,
            self,
            "amplitude",
            "is 0; it must not be 0, because the gradient divides by it",
        )
        return super().infer(x)

    def value(self, xp: Any, x: Any) -> Any:
        return self.amplitude * xp.tanh(self.slope * x)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        t = saved.y / self.amplitude
        return dy * (self.amplitude * self.slope * (1 - t * t))

    def twin(self, torch: Any, x: Any) -> Any:
        return self.amplitude * torch.tanh(self.slope * x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        at_2 = 1.4929388053842507
        yield from cls.few_cases(-0.9999972559224789, 0, at_2, np.nan, 1.7159, -1.7159)
        flat = cls.of(0.0, 1.0)
        yield Case("amplitude 0", flat, lambda rng: (normal(rng, (2,)),), error="amplitude is 0")


class EluOp(Activation):
    """y = outer·x where x > 0, else outer·alpha·(exp(inner·x) - 1). ELU (Clevert, Unterthiner,
    Hochreiter 2016): outer = inner = 1. SELU (Klambauer et al. 2017): fixed alpha and outer. CELU
    (Barron 2017): inner = 1/alpha."""

    special = NO_NAN
    FLOPS = 10
    alpha: float = 1.0
    outer: float = 1.0
    inner: float = 1.0

    def value(self, xp: Any, x: Any) -> Any:
        # Clamped so that the branch not taken does not overflow; NaN propagates.
        low = self.alpha * xp.expm1(xp.minimum(self.inner * x, 0 if self.inner > 0 else np.inf))
        return self.outer * xp.where(x > 0, x, low)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        slope = self.alpha * self.inner * xp.exp(self.inner * saved.x)
        return dy * self.outer * xp.where(saved.x <= 0, slope, 1)  # the gradient passes at NaN

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.ops.aten.elu(x, self.alpha, self.outer, self.inner)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(-0.6321205588285577, 0, 2, np.inf, -1)
        yield Case("celu", cls.of(2.0, 1.0, 0.5), lambda rng: (normal(rng, (7, 9), 2),))


class LogsigmoidOp(Activation):
    """y = log(1 / (1 + exp(-x))), without overflow."""

    FLOPS = 20

    def value(self, xp: Any, x: Any) -> Any:
        return -xp.logaddexp(xp.zeros_like(x), -x)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy / (1 + xp.exp(saved.x))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        at_2 = -0.1269280110429725
        yield from cls.few_cases(-1.3132616875182228, -math.log(2), at_2, np.nan, 0, -np.inf)

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.nn.functional.logsigmoid(x)


class GaussianOp(Activation):
    """y = exp(-x²), a radial basis function."""

    FLOPS = 10

    def value(self, xp: Any, x: Any) -> Any:
        return xp.exp(-x * x)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy * (-2 * (saved.x * xp.exp(-saved.x * saved.x)))

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.exp(-x * x)

    @classmethod
    def cases(cls) -> Iterator[Case]:
        yield from cls.few_cases(0.36787944117144233, 1, 0.01831563888873418, np.nan, 0, 0)


class GeluOp(Activation):
    """y = x·P(x), P the standard normal distribution function (Hendrycks and Gimpel 2016)."""

    FLOPS = 20
    cpu = ("rational",)

    def value(self, xp: Any, x: Any) -> Any:
        return x * normal_integral(x)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return self._gradient(xp, dy, saved.x, normal_integral(saved.x))

    def _gradient(self, xp: Any, dy: Any, x: Any, integral: Any) -> Any:
        density = xp.exp(-0.5 * x * x) * (0.5 * math.sqrt(2 / math.pi))
        return dy * (integral + x * density)

    def forward_rational(self, xp: Any, x: Array) -> tuple[Array, ...]:
        """P by a polynomial in float32, 50 times as fast as calling math.erfc per element."""
        if x.dtype != np.float32:
            return self.forward(xp, x)
        return in_pieces(lambda part: (part * normal_integral_float32(part),), (x,))

    def backward_rational(self, xp: Any, dys: Any, saved: Any, needs: Any) -> tuple[Array, ...]:
        def gradient(x: Array, dy: Array) -> tuple[Array, ...]:
            return (self._gradient(np, dy, x, normal_integral_float32(x)),)

        if saved.x.dtype != np.float32:
            return self.backward(xp, dys, saved, needs)
        return in_pieces(gradient, (saved.x, dys[0]))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        at_1, at_2 = -0.15865525393145702, 1.9544997361036416
        yield from cls.few_cases(at_1, 0, at_2, np.nan, np.inf, np.nan)
        yield Case("far", cls(), lambda rng: (np.linspace(-15, 15, 61, dtype=np.float32),))


class GeluTanhOp(Activation):
    """y = x·(1 + tanh(u))/2, u = sqrt(2/π)·(x + 0.044715·x³): an approximation of GELU (Hendrycks
    and Gimpel 2016, section 2)."""

    FLOPS = 16

    def bend(self, xp: Any, x: Any) -> Any:
        return xp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))

    def value(self, xp: Any, x: Any) -> Any:
        return 0.5 * x * (1 + self.bend(xp, x))

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        x, t = saved.x, self.bend(xp, saved.x)
        # 1 - t² is 0 long before x is 100; the limit keeps 0·∞ away.
        du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * xp.minimum(x * x, 1e4))
        return dy * (0.5 * (1 + t) + 0.5 * x * ((1 - t * t) * du))

    def twin(self, torch: Any, x: Any) -> Any:
        return torch.nn.functional.gelu(x, approximate="tanh")

    @classmethod
    def cases(cls) -> Iterator[Case]:
        at_1, at_2 = -0.15880800939172324, 1.954597694087775
        yield from cls.few_cases(at_1, 0, at_2, np.nan, np.inf, np.nan)


class SiluOp(Activation):
    """y = x/(1 + exp(-x)) (Elfwing, Uchibe, Doya 2018; "swish": Ramachandran, Zoph, Le 2017)."""

    FLOPS = 11

    def value(self, xp: Any, x: Any) -> Any:
        return x / (1 + xp.exp(-x))

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        s = 1 / (1 + xp.exp(-saved.x))
        return dy * (s * (1 + saved.x * (1 - s)))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        at_1, at_2 = -0.2689414213699951, 1.7615941559557646
        yield from cls.few_cases(at_1, 0, at_2, np.nan, np.inf, np.nan)


class MishOp(Activation):
    """y = x·tanh(log(1 + exp(x))) (Misra 2020)."""

    FLOPS = 14

    def value(self, xp: Any, x: Any) -> Any:
        return x * xp.tanh(xp.logaddexp(xp.zeros_like(x), x))

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        x = saved.x
        t = xp.tanh(xp.logaddexp(xp.zeros_like(x), x))
        return dy * (t + x * ((1 - t * t) / (1 + xp.exp(-x))))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        at_1, at_2 = -0.30340146137410895, 1.9439589595339946
        yield from cls.few_cases(at_1, 0, at_2, np.nan, np.inf, np.nan)
        yield Case("large", cls(), lambda rng: (normal(rng, (40,), 50),))


class TanhshrinkOp(Activation):
    """y = x - tanh(x)."""

    FLOPS = 9

    def value(self, xp: Any, x: Any) -> Any:
        return x - xp.tanh(x)

    def gradient(self, xp: Any, dy: Any, saved: Any) -> Any:
        return dy * xp.square(xp.tanh(saved.x))

    @classmethod
    def cases(cls) -> Iterator[Case]:
        at_1, at_2 = -0.23840584404423515, 1.035972419924183
        yield from cls.few_cases(at_1, 0, at_2, np.nan, np.inf, -np.inf)


# -------------------------------------------------------------------- functions


@public("gpudl", "Tensor", "functional")
def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-input)), elementwise, without overflow."""
    return run(SigmoidOp.of(), input)


@public("gpudl", "Tensor", "functional")
def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent, elementwise."""
    return run(TanhOp.of(), input)


@public("functional")
def scaled_tanh(input: Tensor, amplitude: float = 1.7159, slope: float = 2 / 3) -> Tensor:
    """amplitude · tanh(slope · input); the defaults are LeCun's, with f(±1) = ±1 (LeCun et al.
    1998, appendix A). Raises ValueError for amplitude = 0."""
    return run(ScaledTanhOp.of(float(amplitude), float(slope)), input)


@public("functional")
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, else alpha·(exp(input) - 1)."""
    return run(EluOp.of(float(alpha), 1.0, 1.0), input, inplace)


@public("functional")
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507 · elu(input, 1.6733), which preserves mean 0 and variance 1 across layers."""
    return run(EluOp.of(SELU_ALPHA, SELU_SCALE, 1.0), input, inplace)


@public("functional")
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where positive, else alpha·(exp(input/alpha) - 1); smooth for every alpha.

    Raises ValueError for alpha = 0.
    """
    if alpha == 0:
        raise ValueError("celu: alpha is 0; it must not be 0, because the function divides by it")
    return run(EluOp.of(float(alpha), 1.0, 1 / alpha), input, inplace)


@public("functional")
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta*input)) / beta, elementwise: a smooth ReLU.

    Returns input itself where beta*input > threshold. Raises ValueError for beta = 0.
    """
    return run(SoftplusOp.of(float(beta), float(threshold)), input)


@public("functional")
def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-input))), without overflow."""
    return run(LogsigmoidOp.of(), input)


@public("functional")
def gaussian(input: Tensor) -> Tensor:
    """exp(-input²), elementwise: a radial basis function."""
    return run(GaussianOp.of(), input)


@public("functional")
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input · P(input), P the standard normal distribution function; approximate="tanh" replaces P
    by its tanh approximation (Hendrycks and Gimpel 2016).

    Raises ValueError for another value of approximate.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate is {approximate!r}; it must be 'none' or 'tanh'")
    return run((GeluOp if approximate == "none" else GeluTanhOp).of(), input)


@public("functional")
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input · sigmoid(input), also called swish."""
    return run(SiluOp.of(), input, inplace)


@public("functional")
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input · tanh(softplus(input))."""
    return run(MishOp.of(), input, inplace)


@public("functional")
def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input)."""
    return run(TanhshrinkOp.of(), input)
