"""Automatic differentiation: the tape, Tensor, gradients, functions of one's own.

The names are those of torch.autograd. Inside the package the modules are imported by their names.
"""

from typing import Any as _Any

from gpudl.autograd.tape import backward as backward
from gpudl.autograd.tape import enable_grad as enable_grad
from gpudl.autograd.tape import grad as grad
from gpudl.autograd.tape import is_grad_enabled as is_grad_enabled
from gpudl.autograd.tape import no_grad as no_grad
from gpudl.autograd.tape import set_grad_enabled as set_grad_enabled


def __getattr__(name: str) -> _Any:
    """Function, which few programs use, is loaded when first asked for."""
    if name in ("Context", "Function"):
        from gpudl.autograd import function

        return getattr(function, name)
    raise AttributeError(f"module 'gpudl.autograd' has no attribute {name!r}")
