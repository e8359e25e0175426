"""conv2d in NumPy as matrix products: the fast form on the CPU.

Window elements are copied into columns, (N, groups, C/groups * R * S, pixels), so that a
convolution is one small product per image. Three things make it fast:

- With stride 1 a column holds whole padded rows, not only the Q pixels of a row that give outputs:
  it is one contiguous run of x, copied at once. The few surplus outputs of each row are dropped as
  the bias is added, and in the weight gradient they meet zeros.
- Images are taken in blocks whose columns stay in the cache, in memory that each thread keeps: the
  C library returns blocks of megabytes to the system, and getting them back costs more than
  filling them.
- The data gradient with stride 1 shifts dy along the row before the product, which then sums over s
  itself: R additions of its result instead of R * S.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

if TYPE_CHECKING:
    from gpudl.ops.conv import Conv2dOp

BLOCK_BYTES = 4 << 20  # of columns: about what a core's share of the last cache holds


class _Kept(threading.local):
    """Memory that a thread uses again and again."""

    memory = np.empty(0, np.uint8)


_kept = _Kept()


def scratch(shape: tuple[int, ...], dtype: Any) -> Any:
    """An uninitialised array, valid until this thread's next call."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if size > 4 * BLOCK_BYTES:
        return np.empty(shape, dtype)
    if size > _kept.memory.size:
        _kept.memory = np.empty(size, np.uint8)
    return _kept.memory[:size].view(dtype).reshape(shape)


class Columns:
    """The columns of one x; `blocks` yields them for some images at a time."""

    def __init__(self, op: Conv2dOp, x: Any, weight: Any) -> None:
        n, c, height, width = x.shape
        _, c_group, r, s = weight.shape
        (top, left), (more_h, more_w) = op.padding, op.extra
        padded_h, padded_w = height + 2 * top + more_h, width + 2 * left + more_w
        self.images = n
        self.p, self.q = op.output_size(x.shape, weight.shape)
        self.row = padded_w if op.stride == (1, 1) else self.q  # pixels in a row of columns
        surplus = (s - 1) * op.dilation[1] if self.row > self.q else 0
        if surplus or (padded_h, padded_w) != (height, width):
            buffer = np.zeros(n * c * padded_h * padded_w + surplus, x.dtype)
            inner = buffer[: buffer.size - surplus].reshape(n, c, padded_h, padded_w)
            inner[:, :, top : top + height, left : left + width] = x
        else:
            buffer = np.ascontiguousarray(x)
        element = buffer.itemsize
        line, image = padded_w * element, padded_h * padded_w * element
        self.windows = as_strided(
            buffer,
            (n, op.groups, c_group, r, s, self.p, self.row),
            (
                *(c * image, c_group * image, image),
                *(op.dilation[0] * line, op.dilation[1] * element),
                *(op.stride[0] * line, op.stride[1] * element),
            ),
            writeable=False,
        )
        self.shape = (op.groups, c_group * r * s, self.p * self.row)

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """(images, their columns (images, groups, C/groups * R * S, P * row)), one block after the
        other in the same memory."""
        each = self.windows[:1].nbytes
        count = max(1, -(-self.images * each // BLOCK_BYTES))
        step = max(1, -(-self.images // count))
        for first in range(0, self.images, step):
            images = slice(first, min(first + step, self.images))
            columns = self.windows[images]
            if not columns.flags.c_contiguous:  # a 1x1 window's columns are x
                columns = scratch(columns.shape, columns.dtype)
                np.copyto(columns, self.windows[images])
            yield images, columns.reshape(len(columns), *self.shape)


def forward(op: Conv2dOp, x: Any, weight: Any, bias: Any) -> Any:
    columns = Columns(op, x, weight)
    n, k = len(x), len(weight)
    y = np.empty((n, k, columns.p, columns.q), x.dtype)
    filters = weight.reshape(op.groups, k // op.groups, -1)
    for images, block in columns.blocks():
        wide = np.matmul(filters, block).reshape(-1, k, columns.p, columns.row)
        wanted = wide[..., : columns.q]
        if bias is None:
            y[images] = wanted
        else:
            np.add(wanted, bias[:, None, None], out=y[images])
    return y


def weight_gradient(op: Conv2dOp, dy: Any, x: Any, weight: Any) -> Any:
    columns = Columns(op, x, weight)
    n, k, p, q = dy.shape
    if columns.row > q:
        wide = np.zeros((n, k, p, columns.row), dy.dtype)
        wide[..., :q] = dy
        dy = wide
    dy = dy.reshape(n, op.groups, k // op.groups, p * columns.row)
    dw = np.zeros((op.groups, k // op.groups, columns.shape[1]), weight.dtype)
    for images, block in columns.blocks():
        dw += np.matmul(dy[images], block.swapaxes(-1, -2)).sum(0)
    return dw.reshape(weight.shape)


def bias_gradient(dy: Any) -> Any:
    """Sums over pixels as a product with ones, which is faster than NumPy's sum of short axes."""
    n, k, p, q = dy.shape
    return (dy.reshape(n, k, p * q) @ np.ones(p * q, dy.dtype)).sum(0)


def data_gradient(op: Conv2dOp, dy: Any, weight: Any, shape: tuple[int, ...]) -> Any:
    """dx of this shape."""
    each = weight[0].size * op.groups * dy[0, 0].nbytes if len(dy) else 1
    step = max(1, BLOCK_BYTES // each)
    part = shifted_rows if op.stride == (1, 1) else scattered_columns
    dx = np.zeros(shape, dy.dtype)
    for first in range(0, len(dy), step):
        images = slice(first, first + step)
        part(op, dy[images], weight, dx[images])
    return dx


def shifted_rows(op: Conv2dOp, dy: Any, weight: Any, dx: Any) -> None:
    """Stride 1: dx[c, p+r-padding, w] += sum over (k, s) of w[k,c,r,s] * dy[k, p, w+padding-s]."""
    n, k, p, q = dy.shape
    k, c_group, r, s = weight.shape
    height, width = dx.shape[2:]
    (top, left), groups = op.padding, op.groups
    shifted = np.zeros((n, k, s, p, width), dy.dtype)
    for i in range(s):
        start = i * op.dilation[1] - left
        low, high = max(start, 0), min(start + q, width)
        if low < high:
            shifted[:, :, i, :, low:high] = dy[..., low - start : high - start]
    filters = weight.reshape(groups, k // groups, c_group, r, s).transpose(0, 3, 2, 1, 4)
    filters = filters.reshape(groups, r * c_group, k // groups * s)
    sums = np.matmul(filters, shifted.reshape(n, groups, k // groups * s, p * width))
    sums = sums.reshape(n, groups, r, c_group, p * width)
    lines = dx.reshape(n, groups, c_group, height * width)
    for i in range(r):
        start = i * op.dilation[0] - top
        low, high = max(start, 0), min(start + p, height)
        if low < high:
            taken = sums[:, :, i, :, (low - start) * width : (high - start) * width]
            lines[..., low * width : high * width] += taken


def scattered_columns(op: Conv2dOp, dy: Any, weight: Any, dx: Any) -> None:
    """Any stride: the columns' gradient, each window element added where it came from."""
    n, k, p, q = dy.shape
    filters = weight.reshape(op.groups, k // op.groups, -1).swapaxes(1, 2)
    columns = np.matmul(filters, dy.reshape(n, op.groups, k // op.groups, p * q))
    columns = columns.reshape(n, op.groups, *weight.shape[1:], p, q)
    padded = op._pad(np, np.zeros_like(dx))
    for r, s in np.ndindex(weight.shape[2:]):
        op._tap(padded, r, s, (p, q))[...] += columns[:, :, :, r, s]
    dx += op._crop(padded, dx.shape)
