"""The fast NumPy form of batch normalisation, in chunks that stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from gpudl.core.layout import channels_first, channels_last, is_dense
from gpudl.ops.elementwise.quick_numpy import quick

CHUNK = 1 << 17  # elements per chunk: enough to amortise NumPy's calls
SHORT = 256  # rows with fewer positions are processed together

FAR = 4.0  # if a channel's mean is more standard deviations away from 0, x is centred first

Block = tuple[tuple[slice, ...], slice, Any]


def forward(op: Any, *inputs: Any) -> tuple[Any, ...]:
    """Two passes over x for the statistics and one for y."""
    x, running_mean, running_var, weight, bias, residual, batches = inputs
    rows = by_channel(x)
    if op.training:
        mean, var = statistics(rows, x.shape[1])
        op.update(running_mean, running_var, batches, mean, var, rows.size // x.shape[1])
    else:
        mean, var = running_mean.copy(), running_var
    invstd = 1 / np.sqrt(var + op.eps)
    center = beside(mean, rows)
    scale = beside(invstd if weight is None else invstd * weight, rows)
    shift = None if bias is None else beside(bias, rows)
    added = None if residual is None else by_channel(residual, like=x)
    out = np.empty_like(rows)
    for at, of, _ in blocks(rows):
        y = np.subtract(rows[at], center[of], out=out[at])
        y *= scale[of]
        if shift is not None:
            y += shift[of]
        if added is not None:
            y += added[at]
        op.activate(np, y)
    y = back_to(out, x)
    return (y, mean, invstd, op.mask_of(np, y))


def statistics(rows: Any, channels: int) -> tuple[Any, Any]:
    """Mean and biased variance of each channel."""
    n = rows.dtype.type(rows.size // channels)
    mean, var = np.zeros((2, channels), rows.dtype)
    for at, of, _ in blocks(rows):
        mean[of] += sums(rows[at])
    mean /= n
    center = beside(mean, rows)
    for at, of, centred in blocks(rows):
        np.subtract(rows[at], center[of], out=centred)
        var[of] += products(centred, centred)
    return mean, var / n


def backward(op: Any, dy: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
    """One pass over x and dy for the sums, and one for dx."""
    x = saved.x
    rows, g = by_channel(x), by_channel(dy, like=x)
    y = None if saved.y is None else by_channel(saved.y, like=x)
    passed = g if y is None else np.empty_like(rows)  # the gradient before the activation
    mean, invstd = saved.mean, saved.invstd
    # Means near 0 can be subtracted from the sum instead, without cancellation.
    centred = bool((np.abs(mean * invstd) > FAR).any())
    center = beside(mean, rows)
    sum_g, sum_gx = np.zeros((2, x.shape[1]), x.dtype)
    for at, of, scratch in blocks(rows):
        if y is not None:
            passed[at] = op.before_activation(quick, g[at], y[at])
        if op.training or needs[3] or needs[4]:
            part = np.subtract(rows[at], center[of], out=scratch) if centred else rows[at]
            sum_g[of] += sums(passed[at])
            sum_gx[of] += products(passed[at], part)
    sum_gx = (sum_gx if centred else sum_gx - mean * sum_g) * invstd
    dx = None
    if needs[0]:
        scale = invstd if saved.weight is None else invstd * saved.weight
        target = passed if y is not None and not needs[5] else np.empty_like(rows)
        dx = back_to(scaled(op, rows, passed, saved, scale, sum_g, sum_gx, target), x)
    wanted = (dx, None, None, sum_gx, sum_g, back_to(passed, x) if needs[5] else None, None)
    return tuple(d if need else None for d, need in zip(wanted, needs, strict=True))


def scaled(
    op: Any, rows: Any, g: Any, saved: Any, scale: Any, sum_g: Any, sum_gx: Any, out: Any
) -> Any:
    """dx = scale·g, in training minus scale·(sum_g + xhat·sum_gx)/n, which equals slope·(x - start)
    with one slope and start per channel. out may be g."""
    factor = beside(scale, rows)
    if not op.training:
        return np.multiply(g, factor, out=out)
    n = rows.size // len(scale)
    along_x, along_1 = scale * saved.invstd * sum_gx / n, scale * sum_g / n
    least = np.abs(along_1) * along_1.dtype.type(1e-30)  # keeps start finite
    along_x = np.where(np.abs(along_x) > least, along_x, least)
    start = saved.mean - np.divide(along_1, along_x, where=along_x != 0, out=np.zeros_like(scale))
    slope, start = beside(along_x, rows), beside(start, rows)
    for at, of, step in blocks(rows):
        np.subtract(rows[at], start[of], out=step)
        step *= slope[of]
        part = np.multiply(g[at], factor[of], out=out[at])
        part -= step
    return out


def by_channel(x: Any, like: Any = None) -> Any:
    """x as (N, C, positions), or as (positions, C) if it (or `like`) is stored channels-last; a
    view if possible."""
    leader = x if like is None else like
    if x.ndim == 2:
        return x
    last = channels_last(x.ndim)
    if is_dense(leader, last) and not is_dense(leader, tuple(range(x.ndim))):
        return x.transpose(last).reshape(-1, x.shape[1])
    return x.reshape(*x.shape[:2], -1) if x.size else x.reshape(*x.shape[:2], 0)


def back_to(rows: Any, x: Any) -> Any:
    """The inverse of by_channel: rows in the shape of x."""
    if x.ndim > 2 and rows.ndim == 2:
        last = [x.shape[axis] for axis in channels_last(x.ndim)]
        return rows.reshape(last).transpose(channels_first(x.ndim))
    return rows.reshape(x.shape)


def beside(vector: Any, rows: Any) -> Any:
    """A vector over channels, shaped to broadcast against rows. It is repeated over short rows,
    where NumPy would spend most of its time starting inner loops."""
    if rows.ndim == 2:
        return vector
    length = rows.shape[2]
    return (
        np.repeat(vector, length).reshape(len(vector), length)
        if length < SHORT
        else vector[:, None]
    )


def sums(rows: Any) -> Any:
    """The sum of each channel."""
    if rows.ndim == 2:
        return rows.sum(0)
    if rows.dtype.itemsize < 4:  # BLAS has no 16-bit floats
        return rows.sum(2).sum(0)
    return np.matmul(rows, np.ones((rows.shape[2], 1), rows.dtype))[..., 0].sum(0)


def products(a: Any, b: Any) -> Any:
    """The sum of a·b for each channel, without an array of the products."""
    if a.ndim == 2 or a.dtype.itemsize < 4:
        return np.einsum("nc,nc->c" if a.ndim == 2 else "ncl,ncl->c", a, b)
    return np.vecdot(a, b).sum(0)


def blocks(rows: Any) -> Iterator[Block]:
    """Pieces of rows that stay in the cache: the piece's slices, its slice of channels (also of
    what `beside` returns), and scratch memory of its shape."""
    count, channels = rows.shape[:2]
    positions = rows.shape[2] if rows.ndim == 3 else 1
    step = max(1, CHUNK // max(channels * positions, 1))
    width = max(1, CHUNK // max(positions, 1))
    scratch = rows[:0]
    for start in range(0, count, step):
        for first in range(0, channels, width):
            of = slice(first, first + width)
            part = rows[start : start + step, of]
            if scratch.shape != part.shape:
                scratch = np.empty(part.shape, rows.dtype)
            yield (slice(start, start + step), of), of, scratch
