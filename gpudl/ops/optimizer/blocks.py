"""Many arrays in one launch: tables that say where each array is.

rows (int64): one row an array: where it starts, in elements from the start of an argument of the
operator, and what else the operator wants to know of it. An offset may lead anywhere in memory, so
that arrays need not be moved to be worked on together. blocks (int32, three columns): for each
block of a kernel's threads the row of its array, its first element in it, and how many it has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core.layout import flattened, stored_order
from gpudl.core.op import Array, Op, require
from gpudl.devices.find import Device

PART = 4096  # elements of a block

Table = np.ndarray[Any, Any]


def blocks_of(lengths: Sequence[int]) -> Table:
    """The blocks for arrays of these lengths, each in parts of at most PART elements."""
    sizes = np.array(lengths, np.int64)
    counts = -(-sizes // PART)
    row = np.repeat(np.arange(len(sizes)), counts)
    first = (np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)) * PART
    return np.stack([row, first, np.minimum(PART, sizes[row] - first)], 1).astype(np.int32)


def offsets(addresses: Iterable[int], anchor: int, itemsize: int) -> Table:
    """Where arrays start, in elements from the start of the one at address `anchor`."""
    return (np.array(list(addresses), np.int64) - anchor) // itemsize


def tables_of(device: Device, arrays: Sequence[Array]) -> tuple[Tensor, Tensor, Tensor]:
    """The first array as an argument, and rows and blocks for all of them, which have no gaps."""
    first = arrays[0]
    anchor = flattened(first, stored_order(first))
    found = offsets(map(device.address, arrays), device.address(first), first.itemsize)
    made = (anchor, *map(device.asarray, (found[:, None], blocks_of([a.size for a in arrays]))))
    x, rows, blocks = (Tensor.from_array(a, device) for a in made)
    return x, rows, blocks


def require_blocks(op: Op, rows: Any, blocks: Any, columns: int) -> None:
    """Refuse tables of other shapes or dtypes than the kernels read, or one without the other."""
    if rows is None and blocks is None:
        return
    fits = rows is not None and rows.dtype == np.int64 and rows.shape[1:] == (columns,)
    require(fits, op, "rows", f"is {rows}; it must be int64 with {columns} columns")
    fits = blocks is not None and blocks.dtype == np.int32 and blocks.shape[1:] == (3,)
    require(fits, op, "blocks", f"is {blocks}; it must be int32 with 3 columns")
