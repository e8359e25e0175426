"""A small data set that models learn in moments: 10 classes of blocks at 10 places, and noise."""

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def blocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of an .npz file with 160 images for training and 40 for testing."""
    rng = np.random.default_rng(7)
    labels = np.arange(200) % 10
    images = rng.integers(0, 60, (200, 28, 28)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = divmod(int(label), 4)
        image[8 * row + 2 : 8 * row + 8, 6 * column + 2 : 6 * column + 8] += 180
    path = tmp_path_factory.mktemp("data") / "blocks.npz"
    np.savez(
        path,
        train_images=images[:160],
        train_labels=labels[:160],
        test_images=images[160:],
        test_labels=labels[160:],
    )
    return path
