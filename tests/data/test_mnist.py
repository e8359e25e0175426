"""MNIST and Fashion-MNIST from small files in their format."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from gpudl.data import DataError, load
from tests.data.small_files import idx_bytes, mnist_files

TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TRAIN_IMAGES = "train-images-idx3-ubyte.gz"


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "MNIST", "."])
def test_finds_the_usual_folders(tmp_path, folder):
    mnist_files(tmp_path / folder)
    split = load("mnist", data_dir=tmp_path)
    assert split.train.images.shape == (20, 1, 28, 28)
    assert split.train.images.dtype == np.uint8
    assert split.test.labels.tolist() == list(range(10))
    assert split.train.classes == tuple("0123456789")


def test_reads_plain_files_and_the_dotted_names(tmp_path):
    mnist_files(tmp_path)
    for path in list(tmp_path.glob("*.gz")):
        plain = path.with_suffix("").name.replace("-idx", ".idx")
        (tmp_path / plain).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert len(load("mnist", data_dir=tmp_path).train) == 20


def test_the_two_sets_are_kept_apart(tmp_path):
    mnist_files(tmp_path / "mnist", seed=1)
    mnist_files(tmp_path / "FashionMNIST/raw", seed=2)
    mnist, fashion = load("mnist", data_dir=tmp_path), load("Fashion_MNIST", data_dir=tmp_path)
    assert (mnist.train.images != fashion.train.images).any()
    assert fashion.train.classes[9] == "Ankle boot"


def store(folder: Path, name: str, array: np.ndarray) -> None:
    (folder / name).write_bytes(gzip.compress(idx_bytes(array)))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (TRAIN_LABELS, np.full(20, 10, "u1"), "label 10 of sample 0 is out of range"),
        (TRAIN_LABELS, np.full(20, -1, "i1"), "label -1 of sample 0 is out of range"),
        (TRAIN_LABELS, np.zeros(20, "f4"), "labels of type float32, expected integers"),
        (TRAIN_LABELS, np.zeros(0, "u1"), "holds no values"),
        (TRAIN_LABELS, np.zeros(19, "u1"), "has 20 images, but .*train-labels.* 19 labels"),
        (TRAIN_LABELS, np.zeros((20, 28, 28), "u1"), "3 dimensions, expected 1"),
        (TRAIN_IMAGES, np.zeros((20, 28, 27), "u1"), r"expected uint8 of \(28, 28\)"),
        (TRAIN_IMAGES, np.zeros((20, 28, 28), "i1"), r"int8 images .* expected uint8"),
    ],
)
def test_refuses(tmp_path, name, array, message):
    mnist_files(tmp_path)
    store(tmp_path, name, array)
    with pytest.raises(DataError, match=message):
        load("mnist", data_dir=tmp_path)


def test_refuses_the_files_of_the_other_set(real_data, tmp_path):
    for file in (real_data / "fashion-mnist").glob("*.gz"):
        (tmp_path / file.name).symlink_to(file)
    with pytest.raises(DataError, match="is a file of fashion-mnist, not of mnist"):
        load("mnist", data_dir=tmp_path)
