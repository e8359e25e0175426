"""The functions of activation_smooth's operators, under PyTorch's names."""

from __future__ import annotations

from gpudl.autograd.tensor import Tensor
from gpudl.core.public import public
from gpudl.ops.activation import smooth as ops
from gpudl.ops.activation.base import run

SELU_ALPHA = 1.6732632423543772848  # Klambauer et al. 2017, equation 14
SELU_SCALE = 1.0507009873554804934


@public("gpudl", "Tensor", "functional")
def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-input)), elementwise, for any size of input."""
    return run(ops.SigmoidOp.of(), input)


@public("gpudl", "Tensor", "functional")
def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent, elementwise."""
    return run(ops.TanhOp.of(), input)


@public("functional")
def scaled_tanh(input: Tensor, amplitude: float = 1.7159, slope: float = 2 / 3) -> Tensor:
    """amplitude · tanh(slope · input), by default LeCun's: f(±1) = ±1 (LeCun et al. 1998, appendix
    A). Raises ValueError for amplitude = 0."""
    return run(ops.ScaledTanhOp.of(float(amplitude), float(slope)), input)


@public("functional")
def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where it is positive, else alpha·(exp(input) - 1)."""
    return run(ops.EluOp.of(float(alpha), 1.0, 1.0), input, inplace)


@public("functional")
def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """1.0507 · elu(input, 1.6733): keeps mean 0 and variance 1 from layer to layer."""
    return run(ops.EluOp.of(SELU_ALPHA, SELU_SCALE, 1.0), input, inplace)


@public("functional")
def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """input where it is positive, else alpha·(exp(input/alpha) - 1); smooth for every alpha.

    Raises ValueError for alpha = 0.
    """
    if alpha == 0:
        raise ValueError("celu: alpha is 0; it must not be: the function divides by it")
    return run(ops.EluOp.of(float(alpha), 1.0, 1 / alpha), input, inplace)


@public("functional")
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta*input)) / beta, elementwise: a smooth ReLU.

    Where beta*input > threshold it is the input itself. Raises ValueError for beta = 0.
    """
    return run(ops.SoftplusOp.of(float(beta), float(threshold)), input)


@public("functional")
def logsigmoid(input: Tensor) -> Tensor:
    """log(1 / (1 + exp(-input))), without overflow."""
    return run(ops.LogsigmoidOp.of(), input)


@public("functional")
def gaussian(input: Tensor) -> Tensor:
    """exp(-input²), the unit of radial basis functions."""
    return run(ops.GaussianOp.of(), input)


@public("functional")
def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """input · P(input), P the integral of the standard normal density; approximate="tanh" takes a
    hyperbolic tangent for it (Hendrycks and Gimpel 2016).

    Raises ValueError for another `approximate`.
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate is {approximate!r}; it must be 'none' or 'tanh'")
    return run((ops.GeluOp if approximate == "none" else ops.GeluTanhOp).of(), input)


@public("functional")
def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """input · sigmoid(input), also called swish."""
    return run(ops.SiluOp.of(), input, inplace)


@public("functional")
def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """input · tanh(softplus(input))."""
    return run(ops.MishOp.of(), input, inplace)


@public("functional")
def tanhshrink(input: Tensor) -> Tensor:
    """input - tanh(input)."""
    return run(ops.TanhshrinkOp.of(), input)
