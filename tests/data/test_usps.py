"""The text files of USPS."""

import gzip

import numpy as np
import pytest

from gpudl.data import DataError, load

GREY = np.linspace(-1, 1, 256).round(3)


def lines(labels, grey=GREY) -> bytes:
    """The published format: four decimals, a blank before the end of each line."""
    return b"".join(
        b"".join(b"%.4f " % value for value in (label, *grey)) + b"\n" for label in labels
    )


@pytest.fixture
def folder(write, tmp_path):
    write("usps/zip.train.gz", gzip.compress(lines([6, 5, 0])))
    write("usps/zip.test.gz", gzip.compress(lines([9])))
    return tmp_path


def test_reads_and_scales(folder):
    split = load("usps", data_dir=folder)
    assert split.train.images.shape == (3, 1, 16, 16)
    assert split.train.images.dtype == np.float32
    np.testing.assert_allclose(split.train.images[1].ravel(), (GREY + 1) / 2, atol=1e-7)
    np.testing.assert_array_equal(split.train.labels, [6, 5, 0])
    np.testing.assert_array_equal(split.test.labels, [9])


def test_reads_plain_text_too(folder, write):
    (folder / "usps/zip.test.gz").unlink()
    write("usps/zip.test", lines([8]).replace(b".0000 ", b" "))
    np.testing.assert_array_equal(load("usps", data_dir=folder).test.labels, [8])


ROW = lines([1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lines([10]), "does not begin with a digit"),
        (lines([1.5]), "does not begin with a digit"),
        (lines([1], GREY[:-1]), "line 1 has 256 numbers, expected 257"),
        (ROW + ROW + b"1.0 2.0\n", "line 3 has 2 numbers"),
        (ROW.replace(b"-1.0000", b"minus1"), "other than numbers"),
        (ROW.replace(b"-1.0000", b"-1,0000"), "other than numbers"),
        (ROW.replace(b"-1.0000", b"nan"), "outside -1 to 1"),
        (ROW.replace(b"-1.0000", b"-1.5"), "outside -1 to 1"),
        (b"\n", "line 1 has 0 numbers"),
        (b"\xff\xfe" * 100, "line 1 has 1 numbers"),
        (lines([1]) * 7291, "has the published 7291 lines, but with other numbers"),
    ],
)
def test_refuses(folder, write, text, message):
    path = write("usps/zip.train.gz", gzip.compress(text, 1))
    with pytest.raises(DataError, match=message) as caught:
        load("usps", data_dir=folder)
    assert str(caught.value).startswith(f"{path}: ")


def test_refuses_a_gzip_bomb(folder, write):
    write("usps/zip.train.gz", 8 * gzip.compress(bytes(1 << 24)))
    with pytest.raises(DataError, match=r"holds more than the expected .* bytes"):
        load("usps", data_dir=folder)


def test_refuses_no_lines(folder, write):
    write("usps/zip.train.gz", gzip.compress(b""))
    with pytest.raises(DataError, match="has no samples"):
        load("usps", data_dir=folder)
