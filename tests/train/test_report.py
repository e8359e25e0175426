"""Pictures: of one epoch and many, few classes and many, grey and colour."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from PIL import Image

from gpudl.train import Row, report

NAMES = [f"class number {i}" for i in range(10)]


def check(path):
    """Asserts that the picture has a reasonable size and is not blank."""
    with Image.open(path) as image:
        assert 300 < image.width < 3000
        assert 150 < image.height < 3000
        assert np.asarray(image.convert("L")).std() > 5


def row(epoch, test=0.5):
    return Row(epoch, 10 * epoch, 1 / epoch, 1 - 0.5 / epoch, test, test, 0.1, 100.0, 1.0)


@pytest.mark.parametrize(
    "history", [[row(1)], [row(e, float("nan")) for e in (1, 2)], [row(e) for e in range(1, 60)]]
)
def test_curves(tmp_path, history):
    report.draw_curves(tmp_path / "p.png", history, "title")
    check(tmp_path / "p.png")


@pytest.mark.parametrize("shape", [(6, 1, 5, 5), (70, 3, 3, 3), (1, 16, 28, 28)])
def test_filters(tmp_path, shape):
    weights = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    report.draw_filters(tmp_path / "p.png", weights, "title")
    check(tmp_path / "p.png")


@pytest.mark.parametrize("classes", [2, 40, 1000])
def test_confusion(tmp_path, classes):
    matrix = np.eye(classes, dtype=np.int64) * 90
    matrix[0, 1] = 3
    names = [f"class number {i}" for i in range(classes)]
    report.draw_confusion(tmp_path / "p.png", matrix, names, "title")
    check(tmp_path / "p.png")


@pytest.mark.parametrize(("count", "channels"), [(0, 1), (1, 3), (5, 1), (70, 1)])
def test_mistakes(tmp_path, count, channels):
    rng = np.random.default_rng(0)
    images = rng.random((count, channels, 28, 28), dtype=np.float32)
    probabilities = rng.dirichlet(np.ones(10), count)
    labels = rng.integers(0, 10, count)
    report.draw_mistakes(tmp_path / "p.png", images, labels, probabilities, NAMES, "title")
    check(tmp_path / "p.png")


def test_prediction(tmp_path):
    rng = np.random.default_rng(0)
    original = rng.integers(0, 255, (60, 80, 3)).astype(np.uint8)
    seen = rng.random((1, 28, 28), dtype=np.float32)
    for classes in (10, 100):
        names = [f"class number {i}" for i in range(classes)]
        chances = rng.dirichlet(np.full(classes, 0.1))
        report.draw_prediction(tmp_path / "p.png", original, seen, chances, names, "name " * 20)
        check(tmp_path / "p.png")


def test_dollars_in_names_are_no_formulas(tmp_path):
    matrix = np.array([[50, 3], [1, 50]])
    report.draw_confusion(tmp_path / "p.png", matrix, ["$$", r"$\x$"], r"$\x$")
    check(tmp_path / "p.png")


def test_names_that_are_not_utf8(tmp_path):
    names = ["caf\udce9", "\udcff"]
    report.draw_confusion(tmp_path / "p.png", np.array([[50, 3], [1, 50]]), names, "\udcff")
    check(tmp_path / "p.png")
    image, chances = np.zeros((1, 9, 9), np.float32), np.array([0.2, 0.8])
    report.draw_prediction(tmp_path / "p.png", image[0], image, chances, names, "\udcff.png")
    check(tmp_path / "p.png")
