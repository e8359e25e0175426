"""Small files in the formats of the data sets, so that no test needs a download."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(">HBB", 0, CODES[array.dtype.str[1:]], array.ndim)
    dims = struct.pack(f">{array.ndim}I", *array.shape)
    return header + dims + array.astype(array.dtype.newbyteorder(">")).tobytes()


def mnist_files(folder: Path, seed: int = 0, train: int = 20, test: int = 10) -> None:
    """The four files of MNIST, with noise as images and labels that count through the digits."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(images)))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx_bytes(labels)))


def python_batch(images: np.ndarray, labels: list[int], names: tuple[str, ...] = ()) -> bytes:
    """A CIFAR batch as Python 2 pickled it: {"data": uint8 array (N, 3072), "labels": list, …}."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    n, width = images.shape
    call = b"cnumpy.core.multiarray\n_reconstruct\nq\x05cnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    minus = b"J\xff\xff\xff\xff"
    dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNN" + minus + minus + b"K\x00tb"
    shape = b"M" + struct.pack("<H", n) + b"M" + struct.pack("<H", width) + b"\x86"
    content = b"T" + struct.pack("<i", images.size) + images.tobytes()
    return (
        b"\x80\x02}q\x01("
        + text(b"labels")
        + b"]q\x02("
        + b"".join(b"K" + bytes([label]) for label in labels)
        + b"e"
        + text(b"data")
        + call
        + (b"(K\x01" + shape + dtype + b"\x89" + content + b"tb")
        + text(b"filenames")
        + (b"](" + b"".join(text(name.encode()) for name in names) + b"e")
        + b"u."
    )
