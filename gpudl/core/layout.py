"""Memory layout: orders of axes, density, and rearranging an array for a kernel."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from gpudl.core.op import Array

NHWC = (0, 2, 3, 1)  # axes of a logical (N, C, H, W) array in channels-last memory order
NCHW = (0, 3, 1, 2)  # and back


@cache
def channels_last(ndim: int) -> tuple[int, ...]:
    """NHWC for (N, C, ...) arrays of any rank: the axes from slowest to fastest."""
    return (0, *range(2, ndim), 1)


@cache
def channels_first(ndim: int) -> tuple[int, ...]:
    """The inverse of channels_last."""
    return (0, ndim - 1, *range(1, ndim - 1))


def memory_order(array: Array) -> tuple[int, ...]:
    """The axes from slowest to fastest in memory."""
    strides = array.strides
    return tuple(sorted(range(array.ndim), key=lambda axis: -strides[axis]))


def arrange(xp: Any, array: Array, layout: str, like: Array | None = None) -> Array:
    """The array in the memory order that a kernel needs; the same object if it already is."""
    if layout == "nhwc":
        order = channels_last(array.ndim)
        if is_dense(array, order):
            return array
        return xp.ascontiguousarray(array.transpose(order)).transpose(channels_first(array.ndim))
    if layout == "any":
        order = memory_order(array if like is None or like.shape != array.shape else like)
        if is_dense(array, order):
            return array
        if like is None:
            return xp.ascontiguousarray(array)
        inverse = tuple(int(axis) for axis in np.argsort(order))
        return xp.ascontiguousarray(array.transpose(order)).transpose(inverse)
    return array if is_dense(array, tuple(range(array.ndim))) else xp.ascontiguousarray(array)


def is_dense(array: Array, order: tuple[int, ...]) -> bool:
    """Whether the axes lie in this order, slowest first, with no gaps; size-1 axes always fit."""
    if array.size == 0:
        return True
    expected = array.itemsize
    shape, strides = array.shape, array.strides
    for axis in reversed(order):
        if shape[axis] != 1 and strides[axis] != expected:
            return False
        expected *= shape[axis]
    return True


def stored_order(array: Array) -> tuple[int, ...]:
    """The order of the axes in memory; row-major if there are gaps between elements."""
    if array.flags.c_contiguous:
        return tuple(range(array.ndim))
    order = memory_order(array)
    return order if is_dense(array, order) else tuple(range(array.ndim))


def shaped(flat: Array, shape: tuple[int, ...], order: tuple[int, ...]) -> Array:
    """A view of flat memory with this shape, its axes stored in this order."""
    stored = flat.reshape([shape[axis] for axis in order])
    return stored.transpose(sorted(range(len(order)), key=order.__getitem__))


def flattened(array: Array, order: tuple[int, ...]) -> Array:
    """The elements with the axes in this order: a view if memory has this order, else a copy."""
    if not array.flags.c_contiguous or order != tuple(range(array.ndim)):
        array = array.transpose(order)
    return array.reshape(-1)
