"""The quick NumPy form of batch normalisation: in chunks that stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from gpudl.kernel_call import channels_first, channels_last, is_dense

if TYPE_CHECKING:
    from gpudl.ops.batch_norm import BatchNormOp

CHUNK = 1 << 16  # elements worked on at a time


def forward(op: BatchNormOp, *inputs: Any) -> tuple[Any, ...]:
    """Two passes over x for the statistics, one more for y."""
    x, running_mean, running_var, weight, bias, residual, batches = inputs
    rows = by_channel(x)
    if op.training:
        n = rows.size // x.shape[1]
        mean = sum(sums(part) for part in chunks(rows)) / x.dtype.type(n)
        var = sum(products(c, c) for c in (p - beside(mean, p) for p in chunks(rows)))
        var = var / x.dtype.type(n)
        op.update(running_mean, running_var, batches, mean, var, n)
    else:
        mean, var = running_mean.copy(), running_var
    invstd = 1 / np.sqrt(var + op.eps)
    scale = beside(invstd if weight is None else invstd * weight, rows)
    out = np.empty_like(rows)
    added = None if residual is None else by_channel(residual, like=x)
    center = beside(mean, rows)
    for at, part in numbered_chunks(rows):
        y = np.subtract(part, center, out=out[at])
        y *= scale
        if bias is not None:
            y += beside(bias, y)
        if added is not None:
            y += added[at]
        op.activate(np, y)
    y = back_to(out, x)
    return (y, mean, invstd, op.mask_of(np, y))


def backward(op: BatchNormOp, dy: Any, saved: Any, needs: Any) -> tuple[Any, ...]:
    x = saved.x
    rows, g = by_channel(x), by_channel(dy, like=x)
    n = rows.size // x.shape[1]
    if saved.y is not None:
        through = op.passed(by_channel(saved.y, like=x))
        g = g * through if op.activation != "leaky_relu" else np.where(through, g, g * op.slope)
    mean, invstd = beside(saved.mean, rows), saved.invstd
    sum_g, sum_gx = 0, 0
    if op.training or needs[3] or needs[4]:
        for at, part in numbered_chunks(rows):
            sum_g = sum_g + sums(g[at])
            sum_gx = sum_gx + products(g[at], part - mean)
        sum_gx = sum_gx * invstd
    dx = None
    if needs[0]:
        scale = invstd if saved.weight is None else invstd * saved.weight
        dx = np.multiply(g, beside(scale, rows))
        if op.training:
            slope = beside(scale * invstd * sum_gx / n, rows)
            constant = beside(scale * sum_g / n, rows)
            for at, part in numbered_chunks(rows):
                step = part - mean
                step *= slope
                step += constant
                dx[at] -= step
        dx = back_to(dx, x)
    wanted = (dx, None, None, sum_gx, sum_g, back_to(g, x), None)
    return tuple(d if need else None for d, need in zip(wanted, needs, strict=True))


def by_channel(x: Any, like: Any = None) -> Any:
    """x as (N, C, positions), or as (positions, C) where it (or `like`) lies channels-last; a view
    if it can be."""
    leader = x if like is None else like
    if x.ndim == 2:
        return x
    last = channels_last(x.ndim)
    if is_dense(leader, last) and not is_dense(leader, tuple(range(x.ndim))):
        return x.transpose(last).reshape(-1, x.shape[1])
    return x.reshape(*x.shape[:2], -1) if x.size else x.reshape(*x.shape[:2], 0)


def back_to(rows: Any, x: Any) -> Any:
    """What by_channel made of x, in x's shape again."""
    if x.ndim > 2 and rows.ndim == 2:
        last = [x.shape[axis] for axis in channels_last(x.ndim)]
        return rows.reshape(last).transpose(channels_first(x.ndim))
    return rows.reshape(x.shape)


def beside(vector: Any, rows: Any) -> Any:
    return vector if rows.ndim == 2 else vector[:, None]


def sums(rows: Any) -> Any:
    return rows.sum(0) if rows.ndim == 2 else rows.sum(2).sum(0)


def products(a: Any, b: Any) -> Any:
    """Sums per channel of a·b, without an array of the products."""
    return np.einsum("nc,nc->c" if a.ndim == 2 else "ncl,ncl->c", a, b)


def numbered_chunks(rows: Any) -> Iterator[tuple[slice, Any]]:
    count = len(rows)
    step = max(1, CHUNK * count // max(rows.size, 1))
    for start in range(0, count, step):
        at = slice(start, start + step)
        yield at, rows[at]


def chunks(rows: Any) -> Iterator[Any]:
    return (part for _, part in numbered_chunks(rows))
