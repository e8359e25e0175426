"""x[key] and x[key] = value: a key is split into basic indices and integer or bool arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl.autograd.apply import apply
from gpudl.autograd.tensor import Tensor, shared
from gpudl.core.op import Array
from gpudl.core.public import public
from gpudl.ops.elementwise.base import number
from gpudl.ops.index.slices import Cut, IndexPutOp, SliceOp, TakeOp, check_range

Basic = tuple[Any, ...]
Arrays = dict[int, Array]  # axis of the sliced tensor -> integer index along it


def _is_basic(k: Any) -> bool:
    return isinstance(k, (int, slice, np.integer)) and not isinstance(k, bool)


def take_apart(x: Tensor, key: Any) -> tuple[Basic, Arrays]:
    """The basic part of a key, with full slices in place of its arrays, and those arrays by the
    axis that they index after the basic part. As in PyTorch, plain integers apply first."""
    items = list(key) if isinstance(key, tuple) else [key]
    items = [_as_index(x, k) for k in items]
    takes = sum(_axes_taken(k) for k in items)
    if not any(k is Ellipsis for k in items):
        items.append(Ellipsis)
    basic: list[Any] = []
    arrays: Arrays = {}
    axis = 0  # of the sliced tensor
    for k in items:
        if k is Ellipsis:
            if Ellipsis in basic:
                raise IndexError("index: a key may contain only one '...'")
            basic.append(k)
            axis += x.ndim - takes
        elif k is None:
            basic.append(k)
            axis += 1
        elif isinstance(k, slice):
            basic.append(Cut((_number(k.start), _number(k.stop), _number(k.step))))
            axis += 1
        elif isinstance(k, int):
            basic.append(k)
        elif k.dtype == np.bool_ and not k.ndim:  # x[True], x[False]: a new axis of extent 1 or 0
            basic.append(None)
            arrays[axis] = x.device.xp.zeros(int(k), np.int64)
            axis += 1
        else:
            found = x.device.xp.nonzero(k) if k.dtype == np.bool_ else (k,)
            _check_mask(x, k, axis)
            for part in found:
                basic.append(Cut((None, None, None)))
                arrays[axis] = part
                axis += 1
    return tuple(basic), arrays


def _number(bound: Any) -> int | None:
    return None if bound is None else bound.__index__()


def _axes_taken(k: Any) -> int:
    if k is None or k is Ellipsis:
        return 0
    return k.ndim if hasattr(k, "ndim") and k.dtype == np.bool_ else 1


def _as_index(x: Tensor, k: Any) -> Any:
    """Tensors, lists and NumPy arrays as arrays on x's device; integers as int."""
    if k is None or k is Ellipsis or isinstance(k, slice):
        return k
    if _is_basic(k):
        return int(k)
    if isinstance(k, Tensor):
        if k.device is not x.device and k.device.name != "meta":
            k = k.to(x.device)
        array = k.array
    else:
        array = x.device.xp.asarray(k if not isinstance(k, range) else list(k))
    if array.dtype == np.uint8 and isinstance(k, Tensor):  # a mask, as in PyTorch
        return array.astype(np.bool_)
    if array.dtype.kind not in "iub":
        if not array.size and not isinstance(k, Tensor):  # x[[]]
            return array.astype(np.int64)
        raise IndexError(f"index: key is an array of {array.dtype}; use integers or bool")
    return array


def _check_mask(x: Tensor, mask: Array, axis: int) -> None:
    if mask.dtype == np.bool_ and mask.ndim > x.ndim:
        raise IndexError(f"index: mask {list(mask.shape)} has more axes than {list(x.shape)}")


def _slice(x: Tensor, basic: Basic) -> Tensor:
    if all(k is Ellipsis or k == (None, None, None) for k in basic):
        basic = ()
    return apply(SliceOp.of(basic), x)  # type: ignore[no-any-return]


def _merge(x: Tensor, arrays: Arrays) -> tuple[Tensor, Tensor, int, tuple[int, ...]]:
    """(x with its indexed axes merged into one, an index along it, that axis, the order of x's
    axes).

    Adjacent axes stay in place, others move to the front, as in NumPy and PyTorch.
    """
    xp, axes = x.device.xp, sorted(arrays)
    if axes == list(range(axes[0], axes[0] + len(axes))):
        place, order = axes[0], tuple(range(x.ndim))
    else:
        place = 0
        order = (*axes, *(a for a in range(x.ndim) if a not in axes))
    index: Any = None
    extent = 1
    for axis in axes:
        n, part = x.shape[axis], arrays[axis]
        if len(axes) > 1 and hasattr(part, "strides"):
            check_range(TakeOp.of(axis), xp, part, n)
            part = xp.where(part < 0, part + n, part)
        index = part if index is None else index * n + part
        extent *= n
    if len(axes) > 1:
        x = x.permute(order)
        x = x.reshape((*x.shape[:place], extent, *x.shape[place + len(axes) :]))
    return x, Tensor.from_array(index, x.device), place, order


@public("Tensor")
def __getitem__(self: Tensor, key: Any) -> Tensor:
    """x[key]: integers, slices, None, …; bool masks; integer arrays, lists and tensors.

    Slices share memory, arrays copy. Raises IndexError for an index out of range.
    """
    basic, arrays = take_apart(self, key)
    x = _slice(self, basic)
    if not arrays:
        return x
    x, index, dim, _ = _merge(x, arrays)
    return apply(TakeOp.of(dim), x, index)  # type: ignore[no-any-return]


@public("Tensor")
def __setitem__(self: Tensor, key: Any, value: Any) -> None:
    """x[key] = value, with broadcasting. The last of repeated indices wins."""
    value = value if isinstance(value, Tensor) else number_or_array(value, self)
    basic, arrays = take_apart(self, key)
    x = _slice(self, basic)
    if not arrays:
        x.copy_(_without_leading_ones(value, x.ndim))
        return
    joined, index, dim, order = _merge(x, arrays)
    rows = joined.movedim(dim, 0)
    shape = (*joined.shape[:dim], *index.shape, *joined.shape[dim + 1 :])
    value = _without_leading_ones(value, len(shape)).to(x.dtype).expand(shape)
    lead = list(range(dim, dim + index.ndim))
    value = value.movedim(lead, list(range(index.ndim))) if index.ndim else value.unsqueeze(0)
    value = value.reshape((index.numel(), *rows.shape[1:]))
    put = apply(IndexPutOp.of(), rows, index.reshape((index.numel(),)), value)
    ordered = tuple(x.shape[a] for a in order)
    back = put.movedim(0, dim).reshape(ordered).permute([order.index(a) for a in range(x.ndim)])
    x._changed_in_place(back)


def _without_leading_ones(value: Tensor, ndim: int) -> Tensor:
    """Drop leading axes of extent 1 that exceed ndim: such a value may be assigned too."""
    extra = value.ndim - ndim
    if extra > 0 and all(n == 1 for n in value.shape[:extra]):
        return value.reshape(value.shape[extra:])
    return value


def number_or_array(value: Any, beside: Tensor) -> Tensor:
    if isinstance(value, (list, tuple)):
        return shared(value, beside.device)
    return number(value, beside)
