"""Text as characters: windows, streams, vocabulary, files."""

import os

import numpy as np
import pytest

from gpudl.data import DataError, Streams, TextDataset, info, load
from gpudl.data.text import decode, encode, split_text

CLASSES = tuple("abcdefghij")


def test_windows_are_consecutive_with_the_next_characters_as_targets():
    text = TextDataset(np.arange(10), CLASSES, window=4)
    assert len(text) == 2
    codes, targets = text.batch(np.array([1, 0]))
    np.testing.assert_array_equal(codes, [[4, 5, 6, 7], [0, 1, 2, 3]])
    np.testing.assert_array_equal(targets, codes + 1)
    assert text.shape == (4,)
    assert text.text == "abcdefghij"
    shorter = text.windows(3, limit=2)
    assert (len(shorter), len(shorter.codes)) == (2, 7)
    with pytest.raises(ValueError, match="window is 10; it must be from 1 to below the text's 10"):
        TextDataset(np.arange(10), CLASSES, window=10)


def test_streams_continue_where_their_last_window_ended():
    streams = Streams(TextDataset(np.arange(100) % 10, CLASSES, window=4), 3)
    batches = [streams.batch(np.arange(start, start + 3)) for start in range(0, len(streams), 3)]
    codes = np.concatenate([batch[0] for batch in batches], axis=1)
    assert codes.shape == (3, 33)  # 99 targets; the last window has one character
    np.testing.assert_array_equal(codes, np.arange(99).reshape(3, 33) % 10)
    targets = np.concatenate([batch[1] for batch in batches], axis=1)
    np.testing.assert_array_equal(targets, (codes + 1) % 10)


def test_encode_and_decode():
    assert decode(encode("cab", CLASSES), CLASSES) == "cab"
    with pytest.raises(ValueError, match="has 'z', which is not among the 10 known characters"):
        encode("az", CLASSES)


def test_a_text_is_split_nine_to_one():
    train, test = split_text("abc" * 400)
    assert train.classes == ("a", "b", "c")
    assert (len(train.codes), len(test.codes)) == (1080, 120)
    assert train.text + test.text == "abc" * 400


def test_text_files(tmp_path):
    (tmp_path / "mine.txt").write_text("To be, or not to be. " * 60, encoding="utf-8")
    assert load(tmp_path / "mine.txt").train.text.startswith("To be, ")
    (tmp_path / "windows.txt").write_bytes(b"\xef\xbb\xbf" + b"abc\r\n" * 400)
    assert load(tmp_path / "windows.txt").train.classes == ("\n", "a", "b", "c")
    (tmp_path / "short.txt").write_text("brief")
    with pytest.raises(DataError, match=r"short.txt: has 5 characters, expected 650 or more"):
        load(tmp_path / "short.txt")
    (tmp_path / "bytes.txt").write_bytes(b"\xff" * 1000)
    with pytest.raises(DataError, match="is not UTF-8 text"):
        load(tmp_path / "bytes.txt")
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "absent.txt")
    with pytest.raises(DataError, match="size: the data set has no images"):
        load(tmp_path / "mine.txt", size=28)


def test_another_text_is_not_tiny_shakespeare(tmp_path):
    (tmp_path / "input.txt").write_text("To be, or not to be. " * 60)
    with pytest.raises(
        DataError, match=r"input\.txt: is not Tiny Shakespeare; to use your own text"
    ):
        load("tiny-shakespeare", data_dir=tmp_path)
    assert len(info("tiny-shakespeare").classes) == 65


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(DataError, match=r"a\.txt: cannot be read \(Not a regular file\)"):
        load(tmp_path / "a.txt")
