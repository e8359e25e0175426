"""Automatic differentiation: the tape, Tensor, gradients, custom functions.

The names are those of torch.autograd. Inside the package the modules are imported by their names.
"""

from gpudl.autograd.gradients import Context, Function, grad
from gpudl.autograd.tape import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from gpudl.autograd.tensor import backward

__all__ = [
    "Context",
    "Function",
    "backward",
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
]
