"""`load`: names, paths, sizes, the registry."""

import subprocess
import sys

import numpy as np
import pytest

from gpudl.data import DataError, ImageDataset, Split, info, load, names, register, registry
from gpudl.data.resized import Resized
from tests.data.small_files import mnist_files


def test_names():
    images = ["cifar-10", "digits", "fashion-mnist", "mnist", "usps"]
    assert {*images, "tiny-shakespeare"} <= set(names())
    assert names() == sorted(names())
    assert info("CIFAR10").shape == (3, 32, 32)
    for name in images:
        assert len(info(name).classes) == 10
        assert info(name).origin


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnits", "unknown data set 'mnits'; did you mean mnist\\?; expected one of cifar-10"),
        ("", "unknown data set"),
        ("imagenet", "or a folder of images by class"),
        ("./mnist", "does not exist"),
        ("absent/folder", "absent/folder: does not exist"),
        ("absent.npz", "absent.npz: cannot be read"),
        ("nul\0", "unknown data set"),
    ],
)
def test_refuses_unknown_names(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        load(name)


def test_refuses_a_file_of_another_type(write):
    with pytest.raises(DataError, match=r"is not a folder, \.npz or \.txt file"):
        load(write("notes.md", b"text"))


def test_a_registered_function_is_loaded(monkeypatch):
    monkeypatch.setattr(registry, "_INFOS", dict(registry._INFOS))

    @register("two-pixels", title="", shape=(1, 1, 2), classes=("a",), origin="")
    def read(entry, request):
        part = entry.images(np.full((1, 1, 1, 2), request.seed, np.uint8), [0])
        return Split(part, part)

    assert load("Two_Pixels", seed=3).train.images.tolist() == [[[[3, 3]]]]
    with pytest.raises(ValueError, match="'TWO-pixels' is taken"):
        register("TWO-pixels", title="", shape=(1, 1, 2), classes=("a",), origin="")(read)


def test_large_results_are_resized_batch_by_batch(tmp_path, monkeypatch):
    mnist_files(tmp_path)
    at_once = load("mnist", data_dir=tmp_path, size=32).train
    monkeypatch.setattr("gpudl.data.registry.AT_ONCE", 1)
    later = load("mnist", data_dir=tmp_path, size=32).train
    assert isinstance(later, Resized)
    assert (len(later), later.shape, later.mean) == (len(at_once), (1, 32, 32), at_once.mean)
    np.testing.assert_array_equal(later.images, at_once.images, strict=True)
    np.testing.assert_array_equal(later.labels, at_once.labels)


def test_size_resizes_and_keeps_the_type(tmp_path):
    mnist_files(tmp_path)
    split = load("mnist", data_dir=tmp_path, size=32)
    assert split.train.shape == (1, 32, 32)
    assert split.train.images.dtype == np.uint8
    assert isinstance(split.test, ImageDataset)
    assert load("mnist", data_dir=tmp_path, size=(28, 28)).train.shape == (1, 28, 28)
    assert load("mnist", data_dir=tmp_path, size=(7, 14)).train.shape == (1, 7, 14)
    with pytest.raises(ValueError, match="resize: size: 0"):
        load("mnist", data_dir=tmp_path, size=0)
    with pytest.raises(ValueError, match="seed: -1"):
        load("mnist", data_dir=tmp_path, seed=-1)


def test_digits():
    train, test = load("digits")
    assert train.shape == (1, 28, 28)
    assert len(train) + len(test) == 1797
    assert train.images.dtype == np.float32
    assert train.images.min() == 0
    assert 0.99 < train.images.max() <= 1
    share = np.bincount(test.labels) / (np.bincount(train.labels) + np.bincount(test.labels))
    assert (abs(share - 0.2) < 0.004).all()
    np.testing.assert_allclose(train.images.mean(), train.mean, rtol=1e-5)
    np.testing.assert_allclose(train.images.std(), train.std, rtol=1e-5)
    assert test.mean == train.mean


def test_the_split_of_digits_depends_on_the_seed_alone():
    first, again, other = load("digits"), load("digits"), load("digits", seed=1, size=8)
    np.testing.assert_array_equal(first.test.images, again.test.images)
    assert other.train.shape == (1, 8, 8)
    assert (first.test.labels[:100] != other.test.labels[:100]).any()
    grey = np.unique(other.train.images * 16)
    np.testing.assert_array_equal(grey, np.arange(17))


def test_digits_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.datasets")
    scans, labels = sklearn.load_digits(return_X_y=True)
    ours = load("digits", size=8)
    sums = {(int(image.sum() * 16), label) for part in ours for image, label in part}
    assert sums == set(zip(scans.sum(1).astype(int), labels, strict=True))
    assert sum(map(len, ours)) == len(labels)


def test_importing_is_light():
    heavy = "sklearn PIL pooch scipy pandas torch"
    code = f"import gpudl.data, sys; print([m for m in '{heavy}'.split() if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]", loaded.stderr
