"""Tables that locate many arrays, so that one launch can process them where they are.

rows (int64): one row per array, with its start as an offset in elements from the start of an
argument of the operator, and further columns that the operator defines. An offset may point
anywhere in memory. blocks (int32, three columns): for each thread block the row of its array, its
first element in that array, and its number of elements.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gpudl.autograd.tensor import Tensor
from gpudl.core.layout import flattened, stored_order
from gpudl.core.op import Array, Op, require
from gpudl.devices.find import Device

PART = 4096  # most elements per block

Table = np.ndarray[Any, Any]


def blocks_of(lengths: Sequence[int]) -> Table:
    """The blocks for arrays of these lengths, in parts of at most PART elements."""
    sizes = np.array(lengths, np.int64)
    counts = -(-sizes // PART)
    row = np.repeat(np.arange(len(sizes)), counts)
    first = (np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)) * PART
    return np.stack([row, first, np.minimum(PART, sizes[row] - first)], 1).astype(np.int32)


def offsets(addresses: Iterable[int], anchor: int, itemsize: int) -> Table:
    """Offsets of arrays in elements from address `anchor`."""
    return (np.array(list(addresses), np.int64) - anchor) // itemsize


def tables_of(device: Device, arrays: Sequence[Array]) -> tuple[Tensor, Tensor, Tensor]:
    """(the first array as an argument, rows, blocks), for dense arrays."""
    first = arrays[0]
    anchor = flattened(first, stored_order(first))
    found = offsets(map(device.address, arrays), device.address(first), first.itemsize)
    made = (anchor, *map(device.asarray, (found[:, None], blocks_of([a.size for a in arrays]))))
    x, rows, blocks = (Tensor.from_array(a, device) for a in made)
    return x, rows, blocks


def require_blocks(op: Op, rows: Any, blocks: Any, columns: int) -> None:
    """Raise ValueError for tables whose shape or dtype the kernels do not read, or for only one."""
    if rows is None and blocks is None:
        return
    fits = rows is not None and rows.dtype == np.int64 and rows.shape[1:] == (columns,)
    require(fits, op, "rows", f"is {rows}; it must be int64 with {columns} columns")
    fits = blocks is not None and blocks.dtype == np.int32 and blocks.shape[1:] == (3,)
    require(fits, op, "blocks", f"is {blocks}; it must be int32 with 3 columns")
