"""Sums over repeated indices in a fixed order, without atomics: the same bits on every run."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpudl.core.op import Array


def sum_repeated(xp: Any, values: Array, index: Array, extent: int) -> Array:
    """y[j] = sum of values[i] over all i with index[i] == j, for j < extent, along the first axis.

    Values are sorted by index; each run of equal indices is then summed pairwise, in log2(longest
    run) steps.
    """
    y = xp.zeros((extent, *values.shape[1:]), values.dtype)
    if not index.size or not values.size:
        return y
    order = xp.argsort(index, kind="stable")
    index = index[order]
    starts = xp.concatenate((xp.ones(1, bool), index[1:] != index[:-1]))
    places = xp.arange(index.size)
    first = places[starts]
    if first.size < index.size:
        number = places - first[xp.cumsum(starts) - 1]  # within the run of equal indices
        values = values[order]
        step, longest = 1, int(number.max())
        while step <= longest:
            into = places[:-step][number[step:] == number[:-step] + step]  # both in the same run
            into = into[number[into] % (2 * step) == 0]
            values[into] += values[into + step]
            step *= 2
        y[index[first]] = values[first]
    else:
        y[index] = values[order]
    return y


def last_of_each(xp: Any, index: Array) -> Array:
    """Mask of the last occurrence of each index: the one that an assignment keeps."""
    order = xp.argsort(index, kind="stable")
    index = index[order]
    last = xp.ones(index.shape, bool)
    last[:-1] = index[1:] != index[:-1]
    wins = xp.empty(index.shape, bool)
    wins[order] = last
    return wins


def flat_index(xp: Any, shape: tuple[int, ...], dim: int, index: Array) -> Array:
    """Positions in the flattened array of `shape` that `index` along `dim` selects, flattened."""
    flat = xp.zeros(index.shape, np.int64)
    for axis, extent in enumerate(shape):
        if axis == dim:
            along = index
        else:
            ones = [1] * len(shape)
            ones[axis] = -1
            along = xp.arange(index.shape[axis]).reshape(ones)
        flat = flat * extent + along
    return flat.reshape(-1)
