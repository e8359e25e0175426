"""gpudl: deep learning in hand-written CUDA, behind a thin Python tensor and autograd layer."""

from gpudl import ops as _ops
from gpudl.autograd import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from gpudl.device import device
from gpudl.tensor import Tensor, from_numpy, tensor

globals().update(_ops.functions("gpudl"))

__version__ = "0.1.0"
__all__ = [
    "Tensor",
    "device",
    "enable_grad",
    "from_numpy",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
    "tensor",
    *sorted(_ops.functions("gpudl")),
]
