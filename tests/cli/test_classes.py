"""The commands with a selection of the data's classes."""

import json

import numpy as np
import pytest


@pytest.mark.slow
def test_the_commands_use_only_the_selected_classes(gpudl, blocks, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    words = ("train", "mlp", "--data", blocks, "--classes", "4,8", "--epochs", 3, "--out", "run")
    assert gpudl(*words).code == 0
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert config["data"]["only"] == ["4", "8"]
    result = gpudl("evaluate", "run")
    assert result.out.splitlines()[-1].startswith("test accuracy 1.0000 (8 of 8)")
    assert gpudl("train", "--resume", "run").code == 0
    refused = gpudl("train", "--resume", "run", "--classes", "1,2")
    assert "leave out --classes" in refused.err
    with np.load(blocks) as arrays:
        which = np.flatnonzero(arrays["test_labels"] == 8)[0]
        Image.fromarray(arrays["test_images"][which]).save(tmp_path / "eight.png")
    row = gpudl("predict", "run", "eight.png").out.splitlines()[3].split()
    assert row[:2] == ["eight.png", "8"]
    assert row[3] == "4"
    # In other data the classes with the same names are used.
    assert "(8 of 8)" in gpudl("evaluate", "run", "--data", blocks).out
    images = np.zeros((8, 28, 28), np.uint8)
    np.savez(tmp_path / "two.npz", images=images, labels=np.arange(8) % 2)
    assert (
        "has no class '4'; it has 0, 1; give" in gpudl("evaluate", "run", "--data", "two.npz").err
    )
    assert "',,' has an empty name" in gpudl("train", "mlp", "--classes", ",,").err


def test_classes_of_other_data_are_matched_to_the_models(gpudl, blocks, tmp_path):
    words = ("train", "mlp", "--data", blocks, "--classes", "4,8", "--epochs", 3, "--out", "run")
    assert gpudl(*words).code == 0
    with np.load(blocks) as arrays:
        images, labels = arrays["test_images"], arrays["test_labels"]
    selected = np.isin(labels, (4, 8))
    named = {"classes": np.array(["eight", "four"]), "labels": (labels[selected] == 4).astype(int)}
    np.savez(tmp_path / "named.npz", images=images[selected], **named)
    result = gpudl("evaluate", "run", "--data", "named.npz", "--classes", "four,eight")
    assert result.out.splitlines()[-1].startswith("test accuracy 1.0000 (2 of 2)")
    result = gpudl("evaluate", "run", "--data", "named.npz", "--classes", "four")
    assert "has 1 classes, but the model has 2" in result.err
