"""Checkpoints: a round trip keeps the state, and other files are refused in one sentence."""

import math
import os

import numpy as np
import pytest
from safetensors.numpy import save_file

import gpudl
from gpudl import nn
from gpudl.train import TrainingError, load_state, load_weights, save_state, save_weights


def test_weights_keep_their_shapes(tmp_path):
    """Including the scalar counter of batch norm."""
    trained, net = (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)) for _ in range(2))
    trained(gpudl.rand(3, 1, 5, 5))
    save_weights(tmp_path / "w.safetensors", trained.state_dict())
    net.load_state_dict(load_weights(tmp_path / "w.safetensors"))
    for name, value in trained.state_dict().items():
        np.testing.assert_array_equal(
            net.state_dict()[name].numpy(), value.numpy(), strict=True, err_msg=name
        )


def test_round_trip_of_a_nested_state(tmp_path):
    state = {
        "arrays": [np.arange(6, dtype=np.int64).reshape(2, 3), {"b": np.float32([0.1, -0.0])}],
        "tensor": gpudl.Tensor(np.float32([[1.5]])),
        "scalar": np.array(3.25, np.float32),
        "by number": {0: {"step": 3, "m": np.ones(2, np.float32)}, 7: {}},
        "text": "ä",
        "none": None,
        "flags": [True, False],
        "loss": 0.1 + 0.2,
        "nan": math.nan,
        "infinite": math.inf,
        "numpy number": np.float64(0.1),
    }
    save_state(tmp_path / "c.safetensors", state)
    loaded = load_state(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(loaded["arrays"][0], state["arrays"][0], strict=True)
    np.testing.assert_array_equal(loaded["arrays"][1]["b"], state["arrays"][1]["b"], strict=True)
    assert np.signbit(loaded["arrays"][1]["b"][1])
    np.testing.assert_array_equal(loaded["tensor"], np.float32([[1.5]]), strict=True)
    assert loaded["scalar"].shape == ()
    assert loaded["by number"].keys() == {0, 7}
    assert loaded["by number"][0]["step"] == 3
    assert loaded["loss"] == 0.1 + 0.2
    assert math.isnan(loaded["nan"])
    assert loaded["infinite"] == math.inf
    assert {loaded["text"], loaded["none"]} == {"ä", None}
    assert loaded["flags"] == [True, False]


def test_every_flipped_bit_is_detected(tmp_path):
    path = tmp_path / "c.safetensors"
    save_state(
        path, {"epoch": 3, "lr": 0.125, "w": np.arange(8, dtype=np.float32), "n": np.ones((2, 3))}
    )
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for bit in rng.choice(8 * len(content), 300, replace=False):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(TrainingError, match=r"c\.safetensors: is (damaged|not a checkpoint)"):
            load_state(path)


def test_a_checkpoint_without_checksum_is_read(tmp_path):
    save(tmp_path / "c.safetensors", '{"epoch": 3, "w": {"$array": "w"}}', w=np.ones(2))
    assert load_state(tmp_path / "c.safetensors")["epoch"] == 3


@pytest.mark.parametrize(
    "text", ["[1]", "3", "{" * 9, '{"a":' * 99_999, '{"x": {"$array": []}}', '{"x": {"$pairs": 3}}']
)
def test_hostile_json_is_refused(tmp_path, text):
    save(tmp_path / "c.safetensors", text)
    with pytest.raises(TrainingError, match="is damaged"):
        load_state(tmp_path / "c.safetensors")


def save(path, text, **arrays):
    save_file(arrays, path, {"gpudl-checkpoint-1": text})


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "w.safetensors")
    for load in (load_state, load_weights):
        with pytest.raises(TrainingError, match="Not a regular file"):
            load(tmp_path / "w.safetensors")


def test_refuses_to_save_other_objects(tmp_path):
    with pytest.raises(TypeError, match=r"a\.b: object"):
        save_state(tmp_path / "c.safetensors", {"a": {"b": object()}})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 64, None])
def test_damaged_files_are_refused(tmp_path, content):
    path = tmp_path / "c.safetensors"
    if content is None:
        save_state(path, {"a": np.zeros(100)})
        content = path.read_bytes()[:-8]
    path.write_bytes(content)
    for read in (load_state, load_weights):
        with pytest.raises(TrainingError, match=r"c\.safetensors: is damaged"):
            read(path)


def test_weights_are_not_a_checkpoint(tmp_path):
    path = tmp_path / "model.safetensors"
    save_weights(path, {"w": np.zeros(3, np.float32)})
    with pytest.raises(TrainingError, match="is not a checkpoint"):
        load_state(path)
    with pytest.raises(TrainingError, match="cannot be read"):
        load_state(tmp_path / "absent")


def test_equal_weights_are_equal_files(tmp_path):
    weights = {name: np.arange(4, dtype=np.float32) for name in "cab"}
    for name in ("one", "two"):
        save_weights(tmp_path / name, weights)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert load_weights(tmp_path / "one").keys() == weights.keys()
