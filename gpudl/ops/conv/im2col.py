"""Convolution in NumPy as matrix products: the fast CPU form, for one to three axes.

Window elements are copied into columns, (N, groups, C/groups * T * R * S, outputs), which turns a
convolution into one small product per image. Three things make it fast:

- With stride 1 a column holds whole padded rows, not only the Q pixels of a row that give outputs:
  it is one contiguous run of x, copied at once. The few surplus outputs of each row are dropped
  when the bias is added; in the weight gradient they are multiplied by zeros.
- Images are processed in blocks whose columns stay in the cache, in a buffer that each thread
  keeps: the C library returns blocks of megabytes to the system, and getting them back costs more
  than filling them.
- The data gradient shifts dy along the row before the product, which then sums over s itself: T * R
  additions of its result instead of T * R * S. With a stride, elements of x with the same remainder
  use the same taps, so that each remainder is a gradient with stride 1.

If the window covers the whole image, as in the first layer of a generator, one product serves all
images.

All arrays here have three spatial axes; `Geometry` places the windows.
"""

from __future__ import annotations

import math
from _thread import _local  # threading.local; the module itself takes a millisecond to import
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

if TYPE_CHECKING:
    from gpudl.ops.conv.base import Geometry

BLOCK_BYTES = 4 << 20  # of a block of columns: about a core's share of the last-level cache


class _Kept(_local):
    """A buffer that each thread reuses."""

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
    """The columns of x; `blocks` yields them for a few images at a time."""

    def __init__(self, g: Geometry, x: Any, weight: Any, outputs: tuple[int, ...]) -> None:
        n, c = x.shape[:2]
        c_group, *window = weight.shape[1:]
        sizes = [
            max(p + size, (count - 1) * s + d * (taps - 1) + 1)
            for size, p, s, d, count, taps in zip(
                x.shape[2:], g.padding, g.stride, g.dilation, outputs, window, strict=True
            )
        ]
        self.images = n
        self.outputs = outputs
        self.row = sizes[2] if g.stride[2] == 1 else outputs[2]  # pixels in a row of columns
        surplus = max(0, self.row - outputs[2])
        buffer = self._framed(g, x, (n, c, *sizes), surplus)
        element = buffer.itemsize
        line, plane = sizes[2] * element, sizes[1] * sizes[2] * element
        image = sizes[0] * plane
        steps = tuple(s * b for s, b in zip(g.stride, (plane, line, element), strict=True))
        taps = tuple(d * b for d, b in zip(g.dilation, (plane, line, element), strict=True))
        self.windows = as_strided(
            buffer,
            (n, g.groups, c_group, *window, *outputs[:2], self.row),
            (c * image, c_group * image, image, *taps, *steps),
            writeable=False,
        )
        self.shape = (g.groups, math.prod(weight.shape[1:]), outputs[0] * outputs[1] * self.row)

    @staticmethod
    def _framed(g: Geometry, x: Any, shape: tuple[int, ...], surplus: int) -> Any:
        """x padded with zeros, plus the elements that surplus outputs read past its end."""
        if not surplus and shape == x.shape:
            return np.ascontiguousarray(x)
        buffer = np.zeros(math.prod(shape) + surplus, x.dtype)
        inner = buffer[: buffer.size - surplus].reshape(shape)
        spatial = zip(g.padding, x.shape[2:], strict=True)
        place: Any = (..., *(slice(p, p + size) for p, size in spatial))
        inner[place] = x
        return buffer

    def blocks(self) -> Iterator[tuple[slice, Any]]:
        """Yield (images, their columns (images, groups, C/groups * T * R * S, rows * row)); all
        blocks share one buffer."""
        each = self.windows[:1].nbytes
        count = max(1, -(-self.images * each // BLOCK_BYTES))
        step = max(1, -(-self.images // count))
        for first in range(0, self.images, step):
            images = slice(first, min(first + step, self.images))
            columns = self.windows[images]
            if not columns.flags.c_contiguous:  # those of a 1x1 window are x itself
                columns = scratch(columns.shape, columns.dtype)
                np.copyto(columns, self.windows[images])
            yield images, columns.reshape(len(columns), *self.shape)


def covers(g: Geometry, image: tuple[int, ...], weight: Any, outputs: tuple[int, ...]) -> bool:
    """Whether there is a single window, as large as the image."""
    alone = g.groups == 1 and math.prod(outputs) == 1 and not any(g.padding)
    return alone and image[2:] == weight.shape[2:]


def forward(
    g: Geometry, x: Any, weight: Any, bias: Any, outputs: tuple[int, ...], finish: Any = None
) -> Any:
    """y (N, K, O, P, Q). finish(y, images) completes these images of y in place, while they are in
    the cache."""
    if finish is None and covers(g, x.shape, weight, outputs):
        y = x.reshape(len(x), weight[0].size) @ weight.reshape(len(weight), -1).T
        return (y if bias is None else y + bias).reshape(*y.shape, *outputs)
    columns = Columns(g, x, weight, outputs)
    n, k = len(x), len(weight)
    y = np.empty((n, k, *outputs), x.dtype)
    filters = weight.reshape(g.groups, k // g.groups, -1)
    for images, block in columns.blocks():
        wide = np.matmul(filters, block).reshape(-1, k, *outputs[:2], columns.row)
        wanted = wide[..., : outputs[2]]
        if bias is None:
            y[images] = wanted
        else:
            np.add(wanted, bias[:, None, None, None], out=y[images])
        if finish is not None:
            finish(y[images], images)
    return y


def weight_gradient(g: Geometry, dy: Any, x: Any, weight: Any) -> Any:
    if covers(g, x.shape, weight, dy.shape[2:]):
        dw = dy.reshape(dy.shape[:2]).T @ x.reshape(len(x), weight[0].size)
        return dw.reshape(weight.shape)
    columns = Columns(g, x, weight, dy.shape[2:])
    n, k, o, p, q = dy.shape
    if columns.row > q:
        wide = np.zeros((n, k, o, p, columns.row), dy.dtype)
        wide[..., :q] = dy
        dy = wide
    dy = dy.reshape(n, g.groups, k // g.groups, o * p * columns.row)
    dw = np.zeros((g.groups, k // g.groups, columns.shape[1]), weight.dtype)
    for images, block in columns.blocks():
        dw += np.matmul(dy[images], block.swapaxes(-1, -2)).sum(0)
    return dw.reshape(weight.shape)


def bias_gradient(dy: Any) -> Any:
    """Sum over pixels by a product with ones, which beats NumPy's sum over short axes."""
    n, k = dy.shape[:2]
    pixels = math.prod(dy.shape[2:])
    return (dy.reshape(n, k, pixels) @ np.ones(pixels, dy.dtype)).sum(0)


class Remainder(NamedTuple):
    """Along one axis, the elements first + i*stride of x and the only taps that read them. Tap j of
    these reads element i for output i - start - j*step."""

    places: slice
    taps: slice
    start: int
    step: int


def remainders(stride: int, padding: int, dilation: int, taps: int) -> Iterator[Remainder]:
    """The remainders of an axis that any tap reads. Tap t reads element a of x for output
    (a + padding - t*dilation) / stride if that is an integer."""
    common = math.gcd(stride, dilation)
    for first in range(stride):
        for t in range(min(stride // common, taps)):
            if (first + padding - t * dilation) % stride == 0:
                start = (t * dilation - first - padding) // stride
                every = slice(t, None, stride // common)
                yield Remainder(slice(first, None, stride), every, start, dilation // common)


def data_gradient(g: Geometry, dy: Any, weight: Any, shape: tuple[int, ...]) -> Any:
    """dx, of the given shape (N, C, D, H, W)."""
    if covers(g, shape, weight, dy.shape[2:]):
        return (dy.reshape(dy.shape[:2]) @ weight.reshape(len(weight), -1)).reshape(shape)
    each = weight[0].size * g.groups * dy[0, 0].nbytes if len(dy) else 1
    step = max(1, BLOCK_BYTES // max(1, each))
    dx = np.zeros(shape, dy.dtype)
    axes = zip(g.stride, g.padding, g.dilation, weight.shape[2:], strict=True)
    parts = list(product(*(remainders(*axis) for axis in axes)))
    for first in range(0, len(dy), step):
        images = slice(first, first + step)
        for part in parts:
            taps: Any = (..., *(r.taps for r in part))
            places: Any = (images, slice(None), *(r.places for r in part))
            if dx[places].size:
                _shifted_rows(g.groups, part, dy[images], weight[taps], dx[places])
    return dx


def overlap(start: int, count: int, size: int) -> tuple[slice, slice]:
    """Target and source slices for `count` elements placed at `start` in an array of `size`."""
    low, high = max(start, 0), max(min(start + count, size), max(start, 0))
    return slice(low, high), slice(low - start, high - start)


def _shifted_rows(groups: int, part: tuple[Remainder, ...], dy: Any, weight: Any, dx: Any) -> None:
    """dx[c, o+start+t*step, p+…, w] += sum over (k, s) of weight[k,c,t,r,s] * dy[k, o, p, w-…]."""
    n, k, o, p, q = dy.shape
    _, c_group, t, r, s = weight.shape
    width = dx.shape[4]
    shifted = np.zeros((n, k, s, o, p, width), dy.dtype)
    for i in range(s):
        there, here = overlap(part[2].start + i * part[2].step, q, width)
        shifted[:, :, i, :, :, there] = dy[..., here]
    filters = weight.reshape(groups, k // groups, c_group, t, r, s).transpose(0, 3, 4, 2, 1, 5)
    filters = filters.reshape(groups, t * r * c_group, k // groups * s)
    sums = np.matmul(filters, shifted.reshape(n, groups, k // groups * s, o * p * width))
    sums = sums.reshape(n, groups, t, r, c_group, o, p, width)
    to = dx.reshape(n, groups, c_group, *dx.shape[2:])  # a view: reshape only splits an axis
    for i, j in np.ndindex(t, r):
        depth, from_depth = overlap(part[0].start + i * part[0].step, o, dx.shape[2])
        rows, from_rows = overlap(part[1].start + j * part[1].step, p, dx.shape[3])
        to[:, :, :, depth, rows] += sums[:, :, i, j, :, from_depth, from_rows]
