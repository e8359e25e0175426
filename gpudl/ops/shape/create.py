"""Functions that create tensors, under PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core import dtypes
from gpudl.core.public import public
from gpudl.devices.find import MetaArray, chosen


def shape_of(size: tuple[Any, ...]) -> tuple[int, ...]:
    """The shape (2, 3) of `(2, 3)`, `((2, 3),)` and `([2, 3],)`, the forms that PyTorch accepts."""
    if len(size) == 1 and not isinstance(size[0], (int, np.integer)):
        size = tuple(size[0])
    shape = tuple(int(extent) for extent in size)
    if any(extent < 0 for extent in shape):
        raise ValueError(f"size is {shape}; it must not have a negative extent")
    return shape


def _make(
    make: Callable[[Any, Any], Any], shape: Any, dtype: Any, device: Any, requires_grad: bool
) -> Tensor:
    """make(xp, dtype) on a device, by default as float32."""
    where = chosen(device)
    kind = dtypes.dtype_of(np.float32 if dtype is None else dtype)
    array = MetaArray(shape, kind) if where.name == "meta" else make(where.xp, kind)
    made = Tensor.from_array(array, where)
    made.requires_grad = requires_grad
    return made


@public("gpudl")
def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros of shape `size`: zeros(2, 3) or zeros((2, 3))."""
    shape = shape_of(size)
    return _make(lambda xp, kind: xp.zeros(shape, kind), shape, dtype, device, requires_grad)


@public("gpudl")
def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Ones of shape `size`."""
    shape = shape_of(size)
    return _make(lambda xp, kind: xp.ones(shape, kind), shape, dtype, device, requires_grad)


@public("gpudl")
def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """An uninitialised tensor of shape `size`."""
    shape = shape_of(size)
    return _make(lambda xp, kind: xp.empty(shape, kind), shape, dtype, device, requires_grad)


@public("gpudl")
def full(
    size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor filled with `fill_value`; dtype defaults to the value's: bool, int64 or float32."""
    shape = shape_of((size,))
    kind = dtype if dtype is not None else _kind_of(fill_value)
    return _make(
        lambda xp, kind: xp.full(shape, fill_value, kind), shape, kind, device, requires_grad
    )


@public("gpudl")
def arange(
    start: Any,
    end: Any = None,
    step: Any = 1,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """start, start + step, … before end: arange(5), arange(1, 5), arange(1, 5, 0.5).

    int64 if all three are integers, else float32; with dtype int64 they are truncated to integers
    first, as in PyTorch. Raises ValueError if step is 0 or leads away from
    end.
    """
    if end is None:
        start, end = 0, start
    if dtype is not None and dtypes.dtype_of(dtype) == INT64:
        start, end, step = int(start), int(end), int(step)
    if step == 0 or (end - start) * step < 0:
        raise ValueError(f"arange: step is {step}; it must lead from {start} to {end}")
    count = int(np.ceil((end - start) / step))
    whole = all(isinstance(value, (int, np.integer)) for value in (start, end, step))
    exact = np.int64 if whole else np.float64

    def make(xp: Any, kind: Any) -> Any:
        return (xp.arange(count, dtype=exact) * step + start).astype(kind)

    return _make(make, (count,), dtype or (INT64 if whole else None), device, requires_grad)


@public("gpudl")
def linspace(
    start: float,
    end: float,
    steps: int,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`steps` equally spaced numbers from start to end, both included."""
    if steps < 0:
        raise ValueError(f"linspace: steps is {steps}; it must not be negative")
    return _make(
        lambda xp, kind: xp.linspace(start, end, steps).astype(kind),
        (steps,),
        dtype,
        device,
        requires_grad,
    )


@public("gpudl")
def eye(
    n: int, m: int | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """An n × m matrix (n × n by default) with ones on the diagonal, zeros elsewhere."""
    columns = n if m is None else m
    return _make(
        lambda xp, kind: xp.eye(n, columns, dtype=kind), (n, columns), dtype, device, requires_grad
    )


INT64 = np.dtype(np.int64)


def _kind_of(value: Any) -> Any:
    kind = np.asarray(value).dtype
    return {"b": np.bool_, "i": INT64, "u": INT64}.get(kind.kind, np.float32)


# -------------------------------------------------------------------- like another tensor


def like(input: Tensor, dtype: Any, device: Any) -> dict[str, Any]:
    return {
        "dtype": input.dtype if dtype is None else dtype,
        "device": input.device if device is None else device,
    }


@public("gpudl")
def zeros_like(
    input: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros with the shape and, by default, the dtype and device of `input`."""
    return zeros(input.shape, requires_grad=requires_grad, **like(input, dtype, device))


@public("gpudl")
def ones_like(
    input: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Ones with the shape and, by default, the dtype and device of `input`."""
    return ones(input.shape, requires_grad=requires_grad, **like(input, dtype, device))


@public("gpudl")
def empty_like(
    input: Tensor, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """An uninitialised tensor with the shape and, by default, the dtype and device of `input`."""
    return empty(input.shape, requires_grad=requires_grad, **like(input, dtype, device))


@public("gpudl")
def full_like(
    input: Tensor,
    fill_value: Any,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`fill_value` with the shape and, by default, the dtype and device of `input`."""
    return full(input.shape, fill_value, requires_grad=requires_grad, **like(input, dtype, device))
