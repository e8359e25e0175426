"""The IDX reader: the array of a good file, a DataError that names any other file."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudl.data import DataError
from gpudl.data.idx import read_idx
from tests.data.small_files import CODES, idx_bytes

GOOD = idx_bytes(np.arange(24, dtype=np.uint8).reshape(4, 3, 2))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_reads_every_type_plain_and_compressed(write, code, suffix):
    array = np.arange(12).astype(code).reshape(3, 4)
    content = idx_bytes(array)
    path = write(f"values{suffix}", gzip.compress(content) if suffix else content)
    read = read_idx(path, 2)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)


def test_reads_concatenated_gzip_members(write):
    path = write("a.gz", gzip.compress(GOOD[:20]) + gzip.compress(GOOD[20:]))
    assert read_idx(path, 3).shape == (4, 3, 2)


def header(*dims: int, code: int = 8) -> bytes:
    return struct.pack(f">HBB{len(dims)}I", 0, code, len(dims), *dims)


BAD = {
    "empty": ("f", b"", "is empty"),
    "one byte": ("f", b"\0", "truncated"),
    "header cut": ("f", GOOD[:10], "truncated"),
    "values cut": ("f", GOOD[:-1], "truncated or damaged: shape .* takes 24 bytes"),
    "trailing bytes": ("f", GOOD + b"\0", "bytes after the end"),
    "wrong magic": ("f", b"PK\3\4" + GOOD[4:], "is not an IDX file: it starts with 50 4b"),
    "unknown type": ("f", header(4, code=0x0A) + b"1234", "is not an IDX file"),
    "wrong dimensions": ("f", header(4) + b"1234", "has 1 dimensions, expected 3"),
    "oversized header": ("f", header(1 << 20, 1 << 10, 1 << 10), "claims shape .* at most"),
    "all ones": ("f", header(0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), "claims shape"),
    "oversized in gzip": (
        "f.gz",
        gzip.compress(header(1 << 10, 1 << 10, 1 << 10)),
        "takes 1073741824 bytes, the file can hold at most",
    ),
    "plain data named .gz": ("f.gz", GOOD, "named .gz but is not compressed.*rename it to f "),
    "gzip data named plain": ("f", gzip.compress(GOOD), "not named .gz; rename it to f.gz"),
    "gzip cut": ("f.gz", gzip.compress(GOOD)[:-10], "truncated"),
    "gzip trailer cut": ("f.gz", gzip.compress(GOOD)[:-3], "truncated"),
    "gzip checksum": ("f.gz", gzip.compress(GOOD)[:-8] + b"\0" * 8, "damaged gzip data"),
    "gzip header damaged": ("f.gz", b"\x1f\x8b\x01" + gzip.compress(GOOD)[3:], "damaged gzip"),
    "gzip trailing garbage": ("f.gz", gzip.compress(GOOD) + b"garbage", "damaged gzip data"),
    "no values": ("f", header(0, 28, 28), "holds no values"),
    "no values, huge": ("f", header(0, 0xFFFFFFFF, 0xFFFFFFFF), "holds no values"),
    "text": ("f", b"<html>404 not found</html>", "is not an IDX file"),
}


@pytest.mark.parametrize("case", BAD)
def test_refuses(write, case):
    name, content, message = BAD[case]
    path = write(name, content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, 3)
    assert str(caught.value).startswith(f"{path}: ")


def test_refuses_a_gzip_bomb(write):
    """A megabyte that unpacks to a gigabyte, as its header truthfully says."""
    member = gzip.compress(bytes(1 << 24))
    bomb = gzip.compress(header(1 << 10, 1 << 10, 1 << 10)) + 64 * member
    with pytest.raises(DataError, match="claims shape"):
        read_idx(write("bomb.gz", bomb), 3, limit=60000 * 784)


def test_refuses_anything_but_a_regular_file(tmp_path: Path):
    (tmp_path / "folder.gz").mkdir()
    with pytest.raises(DataError, match="is a folder, expected a file"):
        read_idx(tmp_path / "folder.gz", 3)
    with pytest.raises(DataError, match="No such file"):
        read_idx(tmp_path / "absent", 3)
    with pytest.raises(DataError, match="not a regular file"):
        read_idx(Path("/dev/zero"), 3)
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(Path("nul\0byte"), 3)


def expected(content: bytes) -> bytes | None:
    """The values if this is an uint8 IDX file of three dimensions, otherwise None."""
    if len(content) < 16 or content[:4] != b"\0\0\x08\x03":
        return None
    n, h, w = struct.unpack(">3I", content[4:16])
    return content[16:] if 0 < n * h * w == len(content) - 16 else None


MAGIC = st.sampled_from([b"\0\0\x08\x03", b"\0\0\x08\x01", b"\0\0\x0d\x03", b"\x1f\x8b\x08\0"])
DIMS = st.lists(st.integers(0, 4) | st.integers(0, 0xFFFFFFFF), min_size=3, max_size=3)
LIKELY = st.builds(
    lambda magic, dims, rest: magic + struct.pack(">3I", *dims) + rest, MAGIC, DIMS, st.binary()
)
FITTING = st.lists(st.integers(0, 3), min_size=3, max_size=3).map(
    lambda dims: b"\0\0\x08\x03" + struct.pack(">3I", *dims) + bytes(range(int(np.prod(dims))))
)


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=60) | LIKELY | FITTING, compress=st.booleans(), flip=st.data())
def test_any_bytes_give_the_right_array_or_a_data_error(tmp_path_factory, content, compress, flip):
    path = tmp_path_factory.getbasetemp() / ("fuzz.gz" if compress else "fuzz")
    stored = bytearray(gzip.compress(content, mtime=0) if compress else content)
    damage = bool(stored) and flip.draw(st.booleans())
    if damage:
        stored[flip.draw(st.integers(0, len(stored) - 1))] ^= flip.draw(st.integers(1, 255))
    path.write_bytes(stored)
    try:
        values = read_idx(path, 3)
    except DataError:
        assert damage or expected(content) is None
    else:
        # A flipped bit in gzip's own header, such as the date, changes no value.
        wanted = expected(content if compress else bytes(stored))
        assert values.dtype != np.uint8 or values.tobytes() == wanted
