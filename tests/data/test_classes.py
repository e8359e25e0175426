"""Selecting and relabelling classes of a data set."""

import numpy as np
import pytest

from gpudl.data import DataError, ImageDataset, OfClasses, find_labels

NAMES = ("cat", "dog", "owl", "2")


@pytest.fixture
def animals():
    images = np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1)
    return ImageDataset(images, [0, 1, 2, 3, 0, 1, 2, 3], NAMES, mean=[0.1], std=[0.2])


def test_labels_follow_the_requested_order(animals):
    part = OfClasses(animals, (2, 0))
    images, labels = part.batch(np.arange(4))
    assert images.ravel().tolist() == [0, 2, 4, 6]
    assert labels.tolist() == part.labels.tolist() == [1, 0, 1, 0]
    assert (part.classes, part.mean, part.shape) == (("owl", "cat"), (0.1,), (1, 1, 1))


@pytest.mark.parametrize("labels", [(0, 4), (-1,), (1, 1)])
def test_refuses_unknown_and_repeated_labels(animals, labels):
    with pytest.raises(ValueError, match="expected distinct labels from 0 to 3"):
        OfClasses(animals, labels)


def test_classes_are_found_by_name_or_label():
    assert find_labels(("owl", "0", 1), NAMES, "animals") == (2, 0, 1)
    assert find_labels(("2", 2), NAMES, "animals") == (3, 2)  # a string is tried as a name first
    with pytest.raises(
        DataError, match="animals: has no class 'own'; did you mean owl\\?; give names"
    ):
        find_labels(("own",), NAMES, "animals")
    for wrong in ("7", 7, -1, "zebra", "²"):
        with pytest.raises(DataError, match="it has cat, dog, owl, 2; give"):
            find_labels((wrong,), NAMES, "animals")
