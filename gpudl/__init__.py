"""gpudl: deep learning in hand-written CUDA, behind a thin Python tensor and autograd layer."""

from importlib import import_module as _import_module
from typing import Any as _Any

from gpudl import ops as _ops
from gpudl.autograd.tape import enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from gpudl.autograd.tensor import Tensor, from_numpy, tensor
from gpudl.core.choice import (
    are_deterministic_algorithms_enabled,
    tune,
    use_deterministic_algorithms,
)
from gpudl.core.dtypes import (
    double,
    float16,
    float32,
    float64,
    half,
    int8,
    int16,
    int32,
    int64,
    long,
    uint8,
)
from gpudl.core.random import (
    Generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    set_rng_state,
)
from gpudl.core.version import VERSION as _VERSION
from gpudl.devices.find import device

globals().update(_ops.functions("gpudl"))

__version__: str = _VERSION

# Loaded when first used, so that `import gpudl` stays quick.
_LAZY: dict[str, str] = {
    "bfloat16": "gpudl.core.dtypes",
    "explain": "gpudl.autograd.explanation",
    "load": "gpudl.interop.safetensors",
    "save": "gpudl.interop.safetensors",
}
_MODULES: tuple[str, ...] = ("data", "interop", "models", "nn", "optim", "train")


def __getattr__(name: str) -> _Any:
    if name in _MODULES:
        return _import_module(f"gpudl.{name}")
    if name in _LAZY:
        return getattr(_import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'gpudl' has no attribute {name!r}")


__all__ = [
    "Generator",
    "Tensor",
    "are_deterministic_algorithms_enabled",
    "bfloat16",
    "device",
    "double",
    "enable_grad",
    "explain",
    "float16",
    "float32",
    "float64",
    "from_numpy",
    "get_rng_state",
    "half",
    "initial_seed",
    "int16",
    "int32",
    "int64",
    "int8",
    "is_grad_enabled",
    "load",
    "long",
    "manual_seed",
    "no_grad",
    "save",
    "set_grad_enabled",
    "set_rng_state",
    "tensor",
    "tune",
    "uint8",
    "use_deterministic_algorithms",
    *sorted(_ops.functions("gpudl")),
]
