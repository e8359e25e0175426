"""Reads the values in a Python 2 pickle, such as a published CIFAR batch, without executing it.

A pickle stores NumPy arrays as calls. These are recognised by their pattern, and the arrays are
built here.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from gpudl.data.errors import damaged
from gpudl.interop.pickles import Call, Function, RefusedError, read

RECONSTRUCT, NDARRAY, DTYPE = "numpy.core.multiarray._reconstruct", "numpy.ndarray", "numpy.dtype"


def read_pickle(path: Path, data: bytes) -> dict[bytes, Any]:
    """The dictionary of strings (bytes), numbers, lists and uint8 arrays in a Python 2 pickle.

    data: the content of the file `path`. Raises DataError for anything else, in particular for
    pickles that would run code when loaded with Python's own module.
    """
    try:
        result = read(data, (RECONSTRUCT, NDARRAY, DTYPE))
        if not isinstance(result, dict) or not all(isinstance(key, bytes) for key in result):
            raise RefusedError("something other than a dictionary with string keys")
        return {key: _array(value) for key, value in result.items()}
    except RefusedError as refused:
        raise damaged(path, f"is not a published file: its pickle holds {refused}") from None


def _array(value: Any) -> Any:
    """The uint8 array that a recorded call describes; other values unchanged."""
    if isinstance(value, Function):
        raise RefusedError("an object other than an array")
    if not isinstance(value, Call):
        return value
    state = value.state
    if value.function.name != RECONSTRUCT or not isinstance(state, tuple) or len(state) != 5:
        raise RefusedError("an object other than an array")
    _, shape, dtype, fortran, content = state
    if (
        not isinstance(dtype, Call)
        or dtype.function.name != DTYPE
        or dtype.arguments[:1] != (b"u1",)
    ):
        raise RefusedError("an array other than uint8")
    if not isinstance(content, bytes) or not _fits(shape, len(content)):
        raise RefusedError("an array whose shape does not fit its content")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")


def _fits(shape: Any, size: int) -> bool:
    if not isinstance(shape, tuple) or not all(type(n) is int and n > 0 for n in shape):
        return False
    return len(shape) < 5 and math.prod(shape) == size
