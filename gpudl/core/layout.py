"""Orders of axes in memory: what is dense, and bringing an array into the order a kernel wants."""

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
    """And back."""
    return (0, ndim - 1, *range(1, ndim - 1))


def memory_order(array: Array) -> tuple[int, ...]:
    """Axes from slowest to fastest in memory."""
    strides = array.strides
    return tuple(sorted(range(array.ndim), key=lambda axis: -strides[axis]))


def arrange(xp: Any, array: Array, layout: str, like: Array | None = None) -> Array:
    """The array with its elements in the memory order that a kernel wants; itself if they are."""
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
    """No gaps, with the axes in this order from slowest to fastest; axes of size 1 fit anywhere."""
    if array.size == 0:
        return True
    expected = array.itemsize
    shape, strides = array.shape, array.strides
    for axis in reversed(order):
        if shape[axis] != 1 and strides[axis] != expected:
            return False
        expected *= shape[axis]
    return True
