"""Activations as modules; each calls the function of its name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.nn.module import Module, Parameter
from gpudl.ops.activation import pieces, smooth
from gpudl.ops.activation.prelu import glu, prelu, rrelu
from gpudl.ops.activation.softmax import log_softmax, softmax
from gpudl.ops.shape.create import full

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Gaussian",
    "HardSign",
    "HardThreshold",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "ScaledTanh",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]


class Activation(Module):
    """A module that calls `function(input, *options)`; `options` are attributes of the module."""

    function: ClassVar[Callable[..., Tensor]]
    options: ClassVar[tuple[str, ...]] = ()

    def __init__(self) -> None:
        super().__init__()

    def _keep(self, **options: Any) -> None:
        """Store the function's options, in their order. Called by __init__."""
        Module.__init__(self)
        for name, value in options.items():
            setattr(self, name, value)

    def forward(self, input: Tensor) -> Tensor:
        return type(self).function(input, *(getattr(self, name) for name in self.options))

    def extra_repr(self) -> str:
        shown = {name: getattr(self, name) for name in self.options}
        if shown.get("inplace") is False:
            del shown["inplace"]
        return ", ".join(f"{name}={value!r}" for name, value in shown.items())


class _InPlace(Activation):
    """An activation whose only option is to work in place."""

    options = ("inplace",)

    def __init__(self, inplace: bool = False) -> None:
        self._keep(inplace=inplace)


class _Lambd(Activation):
    options = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        self._keep(lambd=lambd)


class ReLU(_InPlace):
    """max(x, 0)."""

    function = pieces.relu


class ReLU6(_InPlace):
    """x, limited to [0, 6]."""

    function = pieces.relu6


class LeakyReLU(Activation):
    """x for x > 0, else negative_slope · x."""

    function = pieces.leaky_relu
    options = ("negative_slope", "inplace")

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self._keep(negative_slope=negative_slope, inplace=inplace)


class PReLU(Activation):
    """x for x > 0, else weight · x, with one learned weight per channel, or one for all.

    weight: (num_parameters,); num_parameters is 1, or C for inputs (N, C, …).
    """

    function = prelu
    options = ("weight",)
    weight: Parameter

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.weight = Parameter(full((num_parameters,), init, np.float32))
        self.to(device=device, dtype=dtype)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(Activation):
    """Leaky ReLU; slopes are drawn from [lower, upper) in training, their mean in evaluation."""

    function = rrelu
    options = ("lower", "upper", "training", "inplace")

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        self._keep(lower=lower, upper=upper, inplace=inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}"


class Threshold(Activation):
    """x where x > threshold, else value."""

    function = pieces.threshold
    options = ("threshold", "value", "inplace")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        self._keep(threshold=threshold, value=value, inplace=inplace)


class HardThreshold(Activation):
    """high where x >= threshold, else low; the gradient passes straight through within `clip` of
    the threshold."""

    function = pieces.hard_threshold
    options = ("threshold", "low", "high", "clip")

    def __init__(
        self, threshold: float = 0.0, low: float = 0.0, high: float = 1.0, clip: float = 1.0
    ) -> None:
        self._keep(threshold=threshold, low=low, high=high, clip=clip)


class HardSign(Activation):
    """1 where x >= 0, else -1; the gradient passes straight through where |x| <= clip."""

    function = pieces.hard_sign
    options = ("clip",)

    def __init__(self, clip: float = 1.0) -> None:
        self._keep(clip=clip)


class Hardtanh(Activation):
    """x, limited to [min_val, max_val]."""

    function = pieces.hardtanh
    options = ("min_val", "max_val", "inplace")

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> None:
        self._keep(min_val=min_val, max_val=max_val, inplace=inplace)


class Hardsigmoid(_InPlace):
    """(x + 3)/6, limited to [0, 1]."""

    function = pieces.hardsigmoid


class Hardswish(_InPlace):
    """x · hardsigmoid(x)."""

    function = pieces.hardswish


class Hardshrink(_Lambd):
    """x where |x| > lambd, else 0."""

    function = pieces.hardshrink


class Softshrink(_Lambd):
    """x moved toward 0 by lambd."""

    function = pieces.softshrink


class Softsign(Activation):
    """x / (1 + |x|)."""

    function = pieces.softsign


class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    function = smooth.sigmoid


class Tanh(Activation):
    """tanh(x)."""

    function = smooth.tanh


class ScaledTanh(Activation):
    """amplitude · tanh(slope · x), by default LeCun's 1.7159 · tanh(2x/3)."""

    function = smooth.scaled_tanh
    options = ("amplitude", "slope")

    def __init__(self, amplitude: float = 1.7159, slope: float = 2 / 3) -> None:
        self._keep(amplitude=amplitude, slope=slope)


class ELU(Activation):
    """x for x > 0, else alpha · (exp(x) - 1)."""

    function = smooth.elu
    options = ("alpha", "inplace")

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self._keep(alpha=alpha, inplace=inplace)


class CELU(ELU):
    """x for x > 0, else alpha · (exp(x/alpha) - 1)."""

    function = smooth.celu


class SELU(_InPlace):
    """The self-normalising scaled ELU (Klambauer et al. 2017)."""

    function = smooth.selu


class Softplus(Activation):
    """log(1 + exp(beta·x)) / beta; x itself where beta·x > threshold."""

    function = smooth.softplus
    options = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self._keep(beta=beta, threshold=threshold)


class LogSigmoid(Activation):
    """log(1 / (1 + exp(-x)))."""

    function = smooth.logsigmoid


class Gaussian(Activation):
    """exp(-x²)."""

    function = smooth.gaussian


class GELU(Activation):
    """x · Φ(x), Φ the standard normal distribution function; approximate: "none" or "tanh"."""

    function = smooth.gelu
    options = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        self._keep(approximate=approximate)


class SiLU(_InPlace):
    """x · sigmoid(x)."""

    function = smooth.silu


class Mish(_InPlace):
    """x · tanh(softplus(x))."""

    function = smooth.mish


class Tanhshrink(Activation):
    """x - tanh(x)."""

    function = smooth.tanhshrink


class GLU(Activation):
    """a · sigmoid(b), where a and b are the halves of x along dim."""

    function = glu
    options = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        self._keep(dim=dim)


class Softmax(Activation):
    """exp(x) / Σ exp(x) along dim."""

    function = softmax
    options = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        self._keep(dim=dim)


class LogSoftmax(Softmax):
    """log softmax(x) along dim."""

    function = log_softmax
