"""CIFAR-10 in each supported form."""

import io
import lzma
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudl.data import DataError, load
from gpudl.data.archive import read_members
from gpudl.data.packed import unpack_images
from gpudl.data.sets.cifar10 import BATCHES, RECORD, parse_binary, parse_python
from tests.data.small_files import python_batch

COUNT = 4
FILE = Path("data_batch_1.bin")
IMAGES = np.random.default_rng(0).integers(0, 256, (6, COUNT, 3072), np.uint8)
LABELS = np.arange(6 * COUNT, dtype=np.uint8).reshape(6, COUNT) % 10


def binary(number: int) -> bytes:
    return np.concatenate([LABELS[number][:, None], IMAGES[number]], axis=1).tobytes()


def pickled(number: int) -> bytes:
    return python_batch(IMAGES[number], LABELS[number].tolist())


def packed(number: int) -> bytes:
    """The packed form, encoded pixel by pixel in Python integers, independently of the decoder."""
    residuals = bytearray()
    for image in IMAGES[number].reshape(COUNT, 3, 32, 32).astype(int).tolist():
        red, green, blue = image
        for plane in range(3):
            values = [
                [
                    (green[y][x], red[y][x] - green[y][x], blue[y][x] - green[y][x])[plane] % 256
                    for x in range(32)
                ]
                for y in range(32)
            ]
            for y in range(32):
                for x in range(32):
                    if y and x:
                        a, b, c = values[y][x - 1], values[y - 1][x], values[y - 1][x - 1]
                        guess = sorted((a, b, a + b - c))[1]
                    else:
                        guess = values[y][x - 1] if x else values[y - 1][0] if y else 0
                    residuals.append((values[y][x] - guess + 128) % 256)
    return lzma.compress(LABELS[number].tobytes() + bytes(residuals))


def archive(folder: str, suffix: str, content) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for number, batch in reversed(list(enumerate(BATCHES))):
            member = tarfile.TarInfo(f"{folder}/{batch}{suffix}")
            member.size = len(content(number))
            tar.addfile(member, io.BytesIO(content(number)))
        readme = tarfile.TarInfo(f"{folder}/readme.html")
        readme.size = 4
        tar.addfile(readme, io.BytesIO(b"text"))
    return stream.getvalue()


FORMS = {
    "binary": {f"{name}.bin": (binary, n) for n, name in enumerate(BATCHES)},
    "binary folder": {
        f"cifar-10-batches-bin/{name}.bin": (binary, n) for n, name in enumerate(BATCHES)
    },
    "python folder": {
        f"cifar-10-batches-py/{name}": (pickled, n) for n, name in enumerate(BATCHES)
    },
    "packed": {f"{name}.med.xz": (packed, n) for n, name in enumerate(BATCHES)},
}
ARCHIVES = {
    "cifar-10-binary.tar.gz": ("cifar-10-batches-bin", ".bin", binary),
    "cifar-10-python.tar.gz": ("cifar-10-batches-py", "", pickled),
}


def check(split) -> None:
    images = IMAGES.reshape(-1, 3, 32, 32)
    np.testing.assert_array_equal(split.train.images, images[: 5 * COUNT])
    np.testing.assert_array_equal(split.test.images, images[5 * COUNT :])
    np.testing.assert_array_equal(split.train.labels, LABELS[:5].ravel())
    np.testing.assert_array_equal(split.test.labels, LABELS[5])
    assert split.train.images.dtype == np.uint8
    assert split.train.labels.dtype == np.int64
    assert split.train.classes[3] == "cat"


@pytest.mark.parametrize("folder", ["", "cifar-10/", "CIFAR10/"])
@pytest.mark.parametrize("form", FORMS)
def test_reads_loose_files(write, tmp_path, form, folder):
    for name, (content, number) in FORMS[form].items():
        write(folder + name, content(number))
    check(load("cifar-10", data_dir=tmp_path))


@pytest.mark.parametrize("name", ARCHIVES)
def test_reads_archives(write, tmp_path, name):
    write(name, archive(*ARCHIVES[name]))
    check(load("cifar-10", data_dir=tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "truncated or damaged: has 0 bytes"),
        (bytes(RECORD - 1), "multiple of 3073"),
        (bytes(RECORD + 1), "multiple of 3073"),
        (bytes(RECORD) + b"\x0a" + bytes(3072), "label 10 of sample 1 is out of range"),
    ],
)
def test_binary_refuses(content, message):
    with pytest.raises(DataError, match=f"^{re.escape(str(FILE))}: .*{message}"):
        parse_binary(FILE, content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (python_batch(IMAGES[0], [1, 2, 3]), "4 images but 3 labels"),
        (python_batch(IMAGES[0], [1, 2, 3, 10]), "label -1 of sample 3"),
        (python_batch(IMAGES[0][:, :100], [1, 2, 3, 4]), "no array 'data'"),
        (python_batch(IMAGES[0], [1, 2, 3, 4]).replace(b"labels", b"lapels"), "no list 'labels'"),
    ],
)
def test_python_refuses(content, message):
    with pytest.raises(DataError, match=message):
        parse_python(FILE, content)


def test_archive_refuses(write, tmp_path):
    good = archive(*ARCHIVES["cifar-10-binary.tar.gz"])
    path = tmp_path / "cifar-10-binary.tar.gz"
    for content, message in (
        (good[: len(good) // 2], "truncated"),
        (b"not gzip", "not compressed with gzip"),
        (archive("x", ".other", binary), "lacks data_batch_1.bin"),
        (archive("x", ".bin", lambda n: bytes(32 << 20)), "not a regular file of at most"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            load("cifar-10", data_dir=tmp_path)


def test_archive_refuses_a_bomb(tmp_path):
    """Reading stops at the limit also within members that were not requested."""
    path = tmp_path / "bomb.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        other = tarfile.TarInfo("other")
        other.size = 1 << 22
        tar.addfile(other, io.BytesIO(bytes(other.size)))
    with pytest.raises(DataError, match="unpacks to far more data than expected"):
        read_members(path, ["wanted"], limit=100)


def test_archive_never_follows_a_link(tmp_path):
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as tar:
        link = tarfile.TarInfo("cifar/data_batch_1.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(DataError, match=r"its data_batch_1\.bin is not a regular file"):
        load("cifar-10", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lzma.compress(bytes(100)), "unpacks to 100 bytes"),
        (lzma.compress(bytes(RECORD))[:-8], "truncated"),
        (b"no xz at all", "damaged xz data"),
        (lzma.compress(bytes(RECORD * 10001)), "truncated, or unpacks to more"),
    ],
)
def test_packed_refuses(write, content, message):
    with pytest.raises(DataError, match=message):
        unpack_images(write("data_batch_1.med.xz", content))


@settings(max_examples=200, deadline=None)
@given(
    content=st.binary(max_size=100)
    | st.lists(st.integers(0, 12), max_size=3).map(
        lambda labels: b"".join(bytes([label]) + bytes(range(256)) * 12 for label in labels)
    )
)
def test_any_bytes_give_records_or_a_data_error(content):
    labels = content[::RECORD]
    good = bool(content) and len(content) % RECORD == 0 and max(labels) < 10
    try:
        images, read = parse_binary(FILE, content)
    except DataError:
        assert not good
    else:
        assert good
        assert read.tobytes() == labels
        assert images.shape == (len(labels), 3072)
