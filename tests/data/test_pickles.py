"""The reader of Python 2 pickles: it reads the published batches and never runs anything."""

import os
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpudl.data import DataError
from gpudl.data.pickles import read_pickle
from tests.data.small_files import python_batch

PATH = Path("data_batch_1")
IMAGES = np.arange(300 * 2, dtype=np.uint32).astype(np.uint8).reshape(2, 300)
GOOD = python_batch(IMAGES, [3, 7], ("cat.png", "horse.png"))


def test_reads_a_batch():
    batch = read_pickle(PATH, GOOD)
    np.testing.assert_array_equal(batch[b"data"], IMAGES)
    assert batch[b"labels"] == [3, 7]
    assert batch[b"filenames"] == [b"cat.png", b"horse.png"]


def test_the_sample_is_a_real_pickle():
    """Python's own module reads the same values, so the sample is a valid pickle."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer NumPy warns about the old form of its arrays
        batch = pickle.loads(GOOD, encoding="bytes")
    np.testing.assert_array_equal(batch[b"data"], IMAGES)
    assert batch[b"labels"] == [3, 7]


class Attack:
    def __reduce__(self):
        return os.mkdir, ("ATTACKED",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_runs_nothing(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="data_batch_1: is not a published file"):
        read_pickle(PATH, pickle.dumps({"data": Attack()}, protocol=protocol))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02cos\nsystem\nU\x04echoq\x85R.",
        b"\x80\x02cbuiltins\neval\n(U\x011tR.",
        b"\x80\x02cnumpy\nload\n(tR.",
    ],
)
def test_names_the_function_that_it_refuses(content):
    with pytest.raises(DataError, match=r"the function (os\.system|builtins\.eval|numpy\.load)"):
        read_pickle(PATH, content)


BAD = {
    "nothing": b"",
    "no stop": b"\x80\x02}",
    "a list": b"\x80\x02].",
    "empty stack": b"\x80\x02.",
    "a mark": b"\x80\x02(.",
    "put of nothing": b"\x80\x02q\1.",
    "get of nothing": b"\x80\x02h\1.",
    "append to a dictionary": b"\x80\x02}K\1a.",
    "items on a list": b"\x80\x02](K\1K\2u.",
    "odd items": b"\x80\x02}(U\1au.",
    "number as key": b"\x80\x02}(K\1K\2u.",
    "marks run out": b"\x80\x02}u.",
    "string cut": b"\x80\x02U\x20abc",
    "negative length": b"\x80\x02T\xff\xff\xff\xff.",
    "huge length": b"\x80\x02T\xff\xff\xff\x7f.",
    "line without end": b"\x80\x02c" + b"a" * 10000,
    "reduce of a number": b"\x80\x02}(U\1aK\1)Ru.",
    "build on a number": b"\x80\x02}(U\1aK\1)bu.",
    "a dtype as value": b"\x80\x02}(U\1acnumpy\ndtype\n)Ru.",
    "a function as value": b"\x80\x02}(U\1acnumpy\ndtype\nK\1K\2u.",
    "array without state": b"\x80\x02}(U\1acnumpy.core.multiarray\n_reconstruct\n)Ru.",
    "array of objects": GOOD.replace(b"U\x02u1", b"U\x02O8"),
    "shape too large": GOOD.replace(b"M\x2c\x01\x86", b"M\xff\xff\x86"),
    "wrong dtype call": GOOD.replace(b"cnumpy\ndtype", b"cnumpy\nndarray"),
}


@pytest.mark.parametrize("case", BAD)
def test_refuses(case):
    with pytest.raises(DataError, match="data_batch_1: is not a published file"):
        read_pickle(PATH, BAD[case])


def test_refuses_every_truncation():
    for length in range(len(GOOD)):
        with pytest.raises(DataError):
            read_pickle(PATH, GOOD[:length])


@settings(max_examples=300, deadline=None)
@given(
    content=st.binary(max_size=80).map(lambda tail: b"\x80\x02" + tail)
    | st.tuples(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=4)).map(
        lambda change: GOOD[: change[0]] + change[1] + GOOD[change[0] + len(change[1]) :]
    )
)
def test_any_bytes_give_a_dictionary_or_a_data_error(content):
    try:
        batch = read_pickle(PATH, content)
    except DataError:
        batch = {}
    assert isinstance(batch, dict)
    if isinstance(batch.get(b"data"), np.ndarray):
        assert batch[b"data"].dtype == np.uint8
