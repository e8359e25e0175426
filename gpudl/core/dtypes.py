"""Number formats under PyTorch's names, and the rules of type promotion.

The rules are PyTorch's, which differ from NumPy's: a tensor with axes outranks one without, which
outranks a Python number; the lower rank counts only if its kind (bool < integer < float) is higher.
Integers take the format of floats beside them: int64 + float32 is float32.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

Dtype = np.dtype[Any]

float64 = double = np.dtype(np.float64)
float32 = np.dtype(np.float32)
float16 = half = np.dtype(np.float16)
int64 = long = np.dtype(np.int64)
int32 = np.dtype(np.int32)
int16 = np.dtype(np.int16)
int8 = np.dtype(np.int8)
uint8 = np.dtype(np.uint8)
bool_ = np.dtype(np.bool_)
if TYPE_CHECKING:
    bfloat16: Dtype

NAMES = ("float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8")


def __getattr__(name: str) -> Dtype:
    """bfloat16 comes from the package ml_dtypes, loaded on first use."""
    if name == "bfloat16":
        return dtype_of("bfloat16")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def dtype_of(dtype: Any) -> Dtype:
    """A dtype from an object, NumPy type, Python type (float is float32, as in PyTorch) or name.

    Raises TypeError for a type that gpudl does not support.
    """
    if dtype is float:
        return float32
    if isinstance(dtype, str) and dtype == "bfloat16":
        try:
            import ml_dtypes
        except ImportError as error:
            raise ImportError("bfloat16 needs ml_dtypes: pip install ml_dtypes") from error
        found: Dtype = np.dtype(ml_dtypes.bfloat16)
        return found
    try:
        found = np.dtype(dtype)
    except TypeError:
        raise TypeError(
            f"dtype {dtype!r} is unknown; use one of {', '.join(NAMES)}, bool"
        ) from None
    if kind_of(found) < 0:
        raise TypeError(f"dtype {found} is not supported; use one of {', '.join(NAMES)}, bool")
    return found if found.isnative else found.newbyteorder("=")


@cache
def kind_of(dtype: Dtype) -> int:
    """0 for bool, 1 for integers, 2 for floats, -1 for unsupported types."""
    if dtype.name == "bfloat16":
        return 2
    return {"b": 0, "i": 1, "u": 1, "f": 2}.get(dtype.kind, -1)


@cache
def promote(a: Dtype, b: Dtype) -> Dtype:
    """The dtype of a + b for tensors of one rank."""
    if a == b:
        return a
    kind_a, kind_b = kind_of(a), kind_of(b)
    if kind_a != kind_b:
        return a if kind_a > kind_b else b
    if kind_a == 2:  # float16 and bfloat16 meet in float32
        if a.itemsize != b.itemsize:
            return a if a.itemsize > b.itemsize else b
        return float32
    return np.promote_types(a, b)


def result_type(*operands: Any) -> Dtype:
    """The dtype of an elementwise result. Operands have `shape` and `dtype`."""
    with_axes: Dtype | None = None
    without: Dtype | None = None
    for operand in operands:
        dtype = operand.dtype
        if operand.shape:
            with_axes = dtype if with_axes is None else promote(with_axes, dtype)
        else:
            without = dtype if without is None else promote(without, dtype)
    if with_axes is None or without is None:
        found = without if with_axes is None else with_axes
        assert found is not None
        return found
    return with_axes if kind_of(without) <= kind_of(with_axes) else without


def number_type(value: float, dtype: Dtype) -> Dtype:
    """The dtype of a Python number combined with a tensor of `dtype`."""
    kind = kind_of(dtype)
    if kind < 2 and isinstance(value, float):
        return float32
    if kind == 0 and not isinstance(value, bool):
        return int64
    return dtype
