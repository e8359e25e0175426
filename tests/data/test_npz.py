"""The user's own data in an .npz file."""

import io
import tracemalloc
import zipfile
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudl.data import DataError, load

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (10, 6, 5), np.uint8)
LABELS = np.arange(10) % 2


def npz(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def member(content: bytes) -> bytes:
    """An archive with this content as the array `images`."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", content)
    return stream.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "names",
    [
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("x_train", "y_train", "x_test", "y_test"),
    ],
)
def test_two_parts(write, names):
    parts = (GREY[:8], LABELS[:8], GREY[8:], LABELS[8:, None])
    split = load(write("own.npz", npz(**dict(zip(names, parts, strict=True)))))
    np.testing.assert_array_equal(split.train.images, GREY[:8, None])
    np.testing.assert_array_equal(split.test.labels, LABELS[8:])
    assert split.train.classes == ("0", "1")
    np.testing.assert_allclose(split.train.mean, GREY[:8].mean() / 255)
    assert split.test.std == split.train.std


def test_a_fifth_is_held_out(write):
    path = write("own.npz", npz(images=GREY, labels=LABELS, classes=["no", "yes"]))
    train, test = load(path)
    assert (len(train), len(test)) == (8, 2)
    assert sorted(test.labels.tolist()) == [0, 1]
    assert train.classes == ("no", "yes")
    assert train.images.dtype == np.uint8


def test_layouts(write):
    colour = RNG.random((10, 6, 5, 3))
    channels_last = load(write("a.npz", npz(images=colour, labels=LABELS)), size=(6, 5))
    first = np.moveaxis(colour, 3, 1)
    channels_first = load(write("b.npz", npz(images=first, labels=LABELS)))
    fortran = load(write("c.npz", npz(images=np.asfortranarray(first), labels=LABELS)))
    for split in (channels_last, channels_first, fortran):
        assert split.train.images.dtype == np.float32
        np.testing.assert_array_equal(split.train.images, channels_first.train.images)


BAD = {
    "no zip": (b"text", "is not a readable .npz"),
    "cut": (npz(images=GREY, labels=LABELS)[:-40], "is not a readable .npz"),
    "no labels": (npz(images=GREY), "has the arrays images; store train_images"),
    "nothing": (npz(), "has the arrays none"),
    "counts differ": (npz(images=GREY, labels=LABELS[:9]), r"shape \(9,\), expected \(10,\)"),
    "negative label": (npz(images=GREY, labels=LABELS - 1), "label -1 of sample 0"),
    "label of text": (npz(images=GREY, labels=LABELS.astype(str)), "expected integers"),
    "no images": (npz(images=GREY[:0], labels=LABELS[:0]), "images has shape"),
    "two dimensions": (npz(images=GREY[0], labels=LABELS[:6]), "images has shape"),
    "wide integers": (npz(images=GREY.astype(int), labels=LABELS), "has dtype int64; store uint8"),
    "beyond 1": (npz(images=GREY.astype(float), labels=LABELS), "has dtype float64"),
    "nan": (npz(images=np.full((2, 3, 3), np.nan), labels=LABELS[:2]), "has dtype float64"),
    "few classes": (npz(images=GREY, labels=LABELS, classes=["one"]), "store at least 2 names"),
    "objects": (npz(images=np.array([None]), labels=LABELS), "holds objects"),
    "no npy": (member(b"text"), "is not a readable .npz"),
    "huge": (
        member(header("{'descr':'|u1','fortran_order':False,'shape':(1099511627776,)}\n")),
        "claims shape",
    ),
    "negative": (
        member(header("{'descr':'|u1','fortran_order':False,'shape':(-1, -1)}\n") + b"x"),
        "claims shape",
    ),
    "code in the header": (member(header("__import__('os').getpid()\n")), "not a readable .npz"),
    "open bracket in the header": (member(header("{'descr': (\n")), "not a readable .npz"),
    "one sample a class": (npz(images=GREY[:2], labels=LABELS[:2]), "no class has two samples"),
}


@pytest.mark.parametrize("case", BAD)
def test_refuses(write, case):
    content, message = BAD[case]
    path = write("own.npz", content)
    with pytest.raises(DataError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_refuses_an_array_that_packs_too_well(write, monkeypatch):
    monkeypatch.setattr("gpudl.data.npz.LARGE", 1 << 16)
    with pytest.raises(DataError, match="unpacks to 200128 bytes") as caught:
        load(write("own.npz", npz(images=np.zeros((2000, 10, 10), np.uint8), labels=LABELS)))
    assert "numpy.savez" in str(caught.value)


def test_refuses_a_bomb(write):
    """The directory of the archive claims more than so small a file can hold."""
    content = bytearray(member(bytes(100)))
    position = content.rindex(b"PK\1\2") + 24
    content[position : position + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    with pytest.raises(DataError, match="claims 4294967280 bytes"):
        load(write("own.npz", bytes(content)))


GOOD = npz(images=GREY[:4, :2, :2], labels=LABELS[:4])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=4))
def test_any_damage_is_a_data_error(tmp_path_factory, changes):
    content = bytearray(GOOD)
    for position, value in changes:
        content[position] = value
    path = tmp_path_factory.getbasetemp() / "fuzz.npz"
    path.write_bytes(content)
    with suppress(DataError):
        split = load(path)
        assert len(split.train) + len(split.test) == 4


def test_a_large_entry_is_not_unpacked_before_its_header_is_read(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", bytes(1 << 28))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"is not a readable \.npz file"):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 24
