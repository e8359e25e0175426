"""Labelled texts: genuine and forged pieces, and lines of files by class."""

import numpy as np
import pytest

from gpudl.data import DataError, forgeries, load_texts
from gpudl.data.labelled_text import padded, unpadded
from gpudl.data.text import split_text

VERSE = "a rose is a rose is a rose, and so is a dandelion.\n" * 40


def test_half_of_the_texts_are_genuine_and_half_follow_the_source():
    train, test = split_text(VERSE)
    dataset = forgeries(test, train, 40, longest=30, seed=1)
    assert dataset.shape == (30,)
    assert dataset.labels.tolist() == [0, 1] * 20
    assert dataset.classes == ("forged", "genuine")
    texts = [unpadded(row, train.classes) for row in dataset.arrays[0]]
    assert min(map(len, texts)) >= 10
    assert all(text in test.text for text in texts[1::2])
    for text in texts[::2]:
        assert all(text[i : i + 3] in VERSE for i in range(len(text) - 2))
    assert any(text not in VERSE for text in texts[::2])
    again = forgeries(test, train, 40, longest=30, seed=1)
    np.testing.assert_array_equal(again.arrays[0], dataset.arrays[0])


def test_lines_of_files_are_texts_of_their_classes(tmp_path):
    (tmp_path / "greeting.txt").write_text("hello\n\n  good day \nhi\nhullo\nhey\n")
    (tmp_path / "question.txt").write_text("why\nwho are you\nwhat\nhow\nwhere\n")
    (tmp_path / "notes.md").write_text("not this")
    train, test = load_texts(tmp_path, longest=7)
    assert train.classes == test.classes == ("greeting", "question")
    assert (len(train), len(test)) == (8, 2)
    texts = [unpadded(row, train.characters) for part in (train, test) for row in part.arrays[0]]
    assert {"hello", "good da", "who are"} < set(texts)


def test_texts_are_padded_at_the_end():
    codes = padded(["ab", "", "babba"], ("a", "b"), 3)
    assert codes.tolist() == [[0, 1, 2], [2, 2, 2], [1, 0, 1]]
    with pytest.raises(ValueError, match="has 'c', which is not among the 2 known"):
        padded(["abc"], ("a", "b"), 3)


def test_folders_without_texts_are_refused(tmp_path):
    (tmp_path / "one.txt").write_text("a line")
    with pytest.raises(DataError, match=r"has 1 \.txt files, expected one per class"):
        load_texts(tmp_path)
    (tmp_path / "two.txt").write_text("\n \n")
    with pytest.raises(DataError, match=r"two\.txt: has no text"):
        load_texts(tmp_path)
