"""Errors for arguments that should be Tensors but are NumPy arrays, lists or tensors of PyTorch.

They name the function and the argument, and say how to convert it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


class NotATensorError(TypeError):
    """An argument is not a Tensor; the message says how to convert it."""


def foreign_argument(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> NotATensorError | None:
    """The error for the first argument that is no Tensor but should be, according to the function's
    annotations; None if there is none. Called after the function has failed."""
    try:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
    except TypeError:  # too few or too many arguments
        return None
    for name, value in given.items():
        expected = str(inspect.signature(function).parameters[name].annotation)
        if "Tensor" not in expected or (isinstance(value, (int, float)) and "Number" in expected):
            continue
        several = isinstance(value, (list, tuple)) and "Sequence" in expected
        for item in value if several else [value]:
            if values_of_others(item) or isinstance(item, (list, tuple)):
                return no_tensor(function.__name__, name, item)
    return None


def values_of_others(value: Any) -> bool:
    """Whether this is a NumPy array, a list of numbers or a tensor of PyTorch."""
    while isinstance(value, (list, tuple)) and value:
        value = value[0]
    return isinstance(value, (np.ndarray, int, float)) or _is_torch(value)


def no_tensor(where: str, name: str, given: Any) -> NotATensorError:
    """The error for an argument that is not a Tensor. where: the function or layer."""
    kind = type(given).__name__
    if isinstance(given, np.ndarray):
        return NotATensorError(f"{where}: {name} is a NumPy array; wrap it with gpudl.from_numpy")
    if _is_torch(given):
        return NotATensorError(
            f"{where}: {name} is a tensor of PyTorch; convert it with "
            "gpudl.from_numpy(tensor.detach().cpu().numpy())"
        )
    if isinstance(given, (bool, int, float, list, tuple, np.generic)):
        return NotATensorError(f"{where}: {name} is of type {kind}; convert it with gpudl.tensor")
    return NotATensorError(f"{where}: {name} is of type {kind}; it must be a Tensor")


def _is_torch(value: Any) -> bool:
    return any(base.__module__.partition(".")[0] == "torch" for base in type(value).__mro__)
