"""The real data sets: class counts, statistics, speed. Needs the folder that GPUDL_DATA names."""

import time

import numpy as np
import pytest

from gpudl.data import channel_statistics, info, load

TRAIN = {
    "mnist": [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    "fashion-mnist": [6000] * 10,
    "usps": [1194, 1005, 731, 658, 652, 556, 664, 645, 542, 644],
    "cifar-10": [5000] * 10,
}
TEST = {
    "mnist": [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
    "fashion-mnist": [1000] * 10,
    "usps": [359, 264, 198, 166, 200, 160, 170, 147, 166, 177],
    "cifar-10": [1000] * 10,
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n == "cifar-10" else []) for n in TRAIN]
)
def test_published_counts_shapes_and_statistics(real_data, name):
    split = load(name, data_dir=real_data)
    assert np.bincount(split.train.labels).tolist() == TRAIN[name]
    assert np.bincount(split.test.labels).tolist() == TEST[name]
    assert split.train.shape == split.test.shape == info(name).shape
    mean, std = channel_statistics(split.train.images)
    np.testing.assert_allclose(mean, split.train.mean, atol=6e-5)
    np.testing.assert_allclose(std, split.train.std, atol=6e-5)


def test_mnist_loads_in_less_than_a_second(real_data):
    def seconds():
        start = time.perf_counter()
        load("mnist", data_dir=real_data)
        return time.perf_counter() - start

    assert min(seconds() for _ in range(3)) < 1
