"""Data sets in memory: subsets, indices and splits."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import gpudl
from gpudl.data import (
    ArrayDataset,
    Dataset,
    ImageDataset,
    Subset,
    channel_statistics,
    random_split,
    stratified_split,
)

IMAGES = np.arange(5 * 2 * 3 * 3, dtype=np.uint8).reshape(5, 2, 3, 3)
LABELS = [0, 1, 2, 1, 0]


@pytest.fixture
def dataset():
    return ImageDataset(IMAGES, LABELS, ("a", "b", "c"), (0.5, 0.4), (0.1, 0.2))


def test_one_sample(dataset):
    image, label = dataset[-1]
    np.testing.assert_array_equal(image, IMAGES[4])
    assert label == 0
    assert len(list(dataset)) == 5


@pytest.mark.parametrize(
    "index", [slice(1, 5, 2), [1, 3], np.array([-4, 3]), np.array([0, 1, 0, 1, 0], bool), (1, 3)]
)
def test_batches(dataset, index):
    images, labels = dataset[index]
    np.testing.assert_array_equal(images, IMAGES[[1, 3]])
    np.testing.assert_array_equal(labels, [1, 1])


def test_no_samples(dataset):
    assert dataset[[]][0].shape == (0, 2, 3, 3)
    assert dataset[3:3][1].dtype == np.int64


@pytest.mark.parametrize("index", [5, -6, [0, 5], np.int64(9)])
def test_index_out_of_range(dataset, index):
    with pytest.raises(IndexError, match="is out of range: the data set has 5 samples"):
        dataset[index]


@pytest.mark.parametrize("index", [1.5, "a", None, True, [[1]], [0.5], [True, False]])
def test_index_of_another_type(dataset, index):
    with pytest.raises(TypeError, match="expected an integer, a slice, a 1-d array"):
        dataset[index]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[0], [0], r"images: uint8 of shape \(2, 3, 3\)"),
        (IMAGES.astype(float), LABELS, "images: float64"),
        (IMAGES, [0, 1], "5 images but 2 labels"),
        (IMAGES, [0.5] * 5, "labels: float64"),
        (IMAGES, [[0]] * 5, "labels: int64 of shape"),
        (IMAGES, [0, 1, 3, 0, 0], "labels: from 0 to 3, expected 0 to 2 for 3 classes"),
        (IMAGES, [0, 1, -1, 0, 0], "labels: from -1"),
    ],
)
def test_image_dataset_refuses(images, labels, message):
    with pytest.raises(ValueError, match=message):
        ImageDataset(images, labels, ("a", "b", "c"))


def test_array_dataset():
    dataset = ArrayDataset([1, 2, 3], [[1.0], [2.0], [3.0]], np.array(["a", "b", "c"]))
    assert [value.tolist() for value in dataset[1]] == [2, [2.0], "b"]
    for arrays in ((), (1,), ([1], [1, 2])):
        with pytest.raises(ValueError, match="ArrayDataset: arrays"):
            ArrayDataset(*arrays)


def test_custom_dataset_by_sample():
    class Squares(Dataset):
        def __len__(self):
            return 4

        def sample(self, index):
            return np.array([index]), np.array(index**2)

    numbers, squares = Squares()[1:]
    assert numbers.tolist() == [[1], [2], [3]]
    assert squares.tolist() == [1, 4, 9]
    assert Squares().labels.tolist() == [0, 1, 4, 9]
    with pytest.raises(TypeError, match="must define __len__"):
        len(Dataset())


def test_subset(dataset):
    part = Subset(Subset(dataset, [4, 2, 0]), [-1, 1])
    np.testing.assert_array_equal(part.images, IMAGES[[0, 2]])
    assert part.labels.tolist() == [0, 2]
    assert part.classes == dataset.classes
    assert part.std == (0.1, 0.2)
    assert part.shape == (2, 3, 3)
    with pytest.raises(IndexError, match="the data set has 3 samples"):
        Subset(Subset(dataset, [4, 2, 0]), [3])


@pytest.mark.parametrize(
    ("lengths", "sizes"),
    [
        ([3, 2], [3, 2]),
        ([0.5, 0.5], [3, 2]),
        ([0.2, 0.3, 0.5], [2, 1, 2]),
        ([1.0], [5]),
        ([5, 0], [5, 0]),
    ],
)
def test_random_split(dataset, lengths, sizes):
    parts = random_split(dataset, lengths, seed=3)
    assert [len(part) for part in parts] == sizes
    assert sorted(np.concatenate([part.indices for part in parts])) == list(range(5))
    again = random_split(dataset, lengths, seed=3)
    assert [part.indices.tolist() for part in parts] == [part.indices.tolist() for part in again]


def test_manual_seed_decides_a_random_split_of_any_data_set():
    def split(seed):
        gpudl.manual_seed(seed)
        return [[part[i] for i in range(len(part))] for part in random_split("abcdefghij", [7, 3])]

    first, second = split(1)
    assert sorted(first + second) == list("abcdefghij")
    assert split(1) == split(1) != split(2)


@pytest.mark.parametrize("lengths", [[3, 1], [0.5, 0.6], [6, -1], [], [2, 2, 2]])
def test_random_split_refuses(dataset, lengths):
    with pytest.raises(ValueError, match="random_split: lengths"):
        random_split(dataset, lengths)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=60), st.floats(0.05, 0.95))
def test_stratified_split(labels, fraction):
    counts = np.bincount(labels, minlength=4)
    assume(counts.max() > 1)
    rest, held = stratified_split(labels, fraction, seed=1)
    assert sorted([*rest, *held]) == list(range(len(labels)))
    taken = np.bincount(np.array(labels)[held], minlength=4)
    for count, take in zip(counts, taken, strict=True):
        assert abs(take - count * fraction) <= 1
        assert count < 2 or 0 < take < count


def test_stratified_split_refuses():
    for labels in ([0, 1], []):
        with pytest.raises(ValueError, match="no class has two samples"):
            stratified_split(labels)
    for fraction in (0, 1):
        with pytest.raises(ValueError, match="is not between 0 and 1"):
            stratified_split([0, 0], fraction)


def test_channel_statistics():
    images = np.stack(
        [np.full((4, 2, 2), 51, np.uint8), np.arange(16, dtype=np.uint8).reshape(4, 2, 2)], 1
    )
    mean, std = channel_statistics(images)
    np.testing.assert_allclose(mean, [0.2, 7.5 / 255])
    np.testing.assert_allclose(std, [1.0, np.arange(16).std() / 255])
