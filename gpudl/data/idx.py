"""The IDX format of MNIST and its relatives.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits": two zero bytes,
a byte for the type, a byte for the number of dimensions, the dimensions as big-endian 32-bit
numbers, then the values, big-endian.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpudl.data.errors import damaged
from gpudl.data.files import opened

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
LIMIT = 1 << 31  # bytes of values


def read_idx(path: Path, ndim: int, limit: int = LIMIT) -> npt.NDArray[Any]:
    """The array in an IDX file, plain or gzip (.gz), in native byte order.

    ndim: the expected number of dimensions. Raises DataError if the file is missing, damaged,
    truncated, too long or in another format, if it has another number of dimensions, or if its
    header claims more than `limit` bytes or more than the file can hold.
    """
    with opened(path) as file:
        magic = file.read(4, "the IDX magic number")
        code, dims = int(magic[2]), int(magic[3])
        if magic[0] or magic[1] or code not in TYPES:
            raise damaged(
                path, f"is not an IDX file: it starts with {bytes(magic).hex(' ')}, not 00 00 08 .."
            )
        if dims != ndim:
            raise damaged(
                path, f"has {dims} dimensions, expected {ndim}", "put the right file there"
            )
        shape = tuple(int(n) for n in file.read(4 * dims, "the IDX header").view(">u4"))
        dtype = np.dtype(TYPES[code])
        size = math.prod(shape) * dtype.itemsize
        if size == 0:
            raise damaged(path, f"holds no values, its shape is {shape}")
        if size > limit:
            raise damaged(
                path,
                f"its header claims shape {shape}, {size} bytes; expected at most {limit}",
            )
        values = file.read(size, f"shape {shape}").view(dtype)
        file.finish()
    return values.reshape(shape).astype(dtype.newbyteorder("="), copy=False)
