"""Weights in files: a round trip, PyTorch reads them, damaged files are refused."""

import os
import re

import numpy as np
import pytest

import gpudl
from gpudl.interop.safetensors import load_metadata


def weights():
    rng = np.random.default_rng(0)
    return {
        "weight": gpudl.tensor(rng.standard_normal((3, 4)).astype("f"), requires_grad=True),
        "transposed": gpudl.tensor(rng.standard_normal((3, 4)).astype("f")).T,
        "steps": gpudl.tensor(7),
        "half": gpudl.tensor([1.5]).half(),
        "bfloat16": gpudl.tensor([1.5, -2.0]).bfloat16(),
        "empty": gpudl.tensor(np.zeros((0, 3), np.float32)),
    }


def test_round_trip(tmp_path):
    path = tmp_path / "w.safetensors"
    gpudl.save(weights(), path, {"epoch": "3"})
    loaded = gpudl.load(path)
    for name, x in weights().items():
        assert loaded[name].dtype == x.dtype
        assert loaded[name].shape == x.shape
        np.testing.assert_array_equal(loaded[name].numpy(), x.detach().numpy())
    assert loaded.keys() == weights().keys()
    assert load_metadata(path) == {"epoch": "3"}
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_pytorch_reads_it(tmp_path):
    pytest.importorskip("torch")
    from safetensors.torch import load_file

    gpudl.save(weights(), tmp_path / "w.safetensors")
    theirs = load_file(tmp_path / "w.safetensors")
    np.testing.assert_array_equal(theirs["transposed"].numpy(), weights()["transposed"].numpy())


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    gpudl.save({"x": gpudl.tensor([1.0])}, path)

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        gpudl.save({"x": gpudl.tensor([2.0])}, path)
    assert gpudl.load(path)["x"].tolist() == [1]
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_bad_files_and_values_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(FileNotFoundError, match="is not a file"):
        gpudl.load(path)
    gpudl.save({"x": gpudl.tensor([1.0, 2.0])}, path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=re.escape(str(path))):
        gpudl.load(path)
    with pytest.raises(TypeError, match="'x' is a list"):
        gpudl.save({"x": [1.0]}, path)


def test_a_number_format_without_tensors_is_refused_by_name(tmp_path):
    path = tmp_path / "w.safetensors"
    gpudl.save({"x": np.ones(2, np.complex64)}, path)
    with pytest.raises(ValueError, match=r"w\.safetensors .*complex64"):
        gpudl.load(path)
