"""gpudl: deep learning in hand-written CUDA, behind a thin Python tensor and autograd layer."""

from gpudl import ops as _ops
from gpudl.autograd import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from gpudl.device import device
from gpudl.random import (
    Generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    set_rng_state,
)
from gpudl.tensor import Tensor, from_numpy, tensor

globals().update(_ops.functions("gpudl"))

__version__ = "0.1.0"
__all__ = [
    "Generator",
    "Tensor",
    "device",
    "enable_grad",
    "from_numpy",
    "get_rng_state",
    "initial_seed",
    "is_grad_enabled",
    "manual_seed",
    "no_grad",
    "set_grad_enabled",
    "set_rng_state",
    "tensor",
    *sorted(_ops.functions("gpudl")),
]
