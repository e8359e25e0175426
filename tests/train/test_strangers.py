"""Run folders and recipes of others: a file that does not fit is named in one sentence."""

import json
import shutil

import numpy as np
import pytest

from gpudl.train import Job, TrainingError, configure, load_state, save_state
from gpudl.train.job import open_run
from gpudl.train.recipe import read_recipe


@pytest.fixture(scope="module")
def original(blocks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "mlp"
    with Job.start(
        configure("mlp", data=str(blocks), epochs=1, options={"hidden": [4]}), folder
    ) as job:
        job.train()
    return folder


@pytest.fixture
def run(original, tmp_path):
    """A copy of a run of one epoch."""
    return shutil.copytree(original, tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model": "\x1b"}, "unknown model"),
        ({"parameters": 3}, r"has \d+ parameters, not 3"),
        ({"options": {"hidden": [1 << 40]}}, "parameters, not"),
        ({"options": {"hidden": 3}}, "cannot be built with"),
        ({"input_shape": [1 << 20, 1 << 20, 1]}, "input_shape"),
        ({"input_shape": [1, 28]}, "input_shape"),
        ({"input_shape": [1, 29, 28]}, "does not accept samples of shape"),
        ({"training": {"momentum": 0.9}}, "--momentum: adam has none"),
        ({"device": "x"}, "device: 'x'"),
        ({"training": {"optimizer": ""}}, "--optimizer: '' is unknown"),
        ({"training": {"schedule": "x"}}, "--schedule: 'x' is unknown"),
        ({"data": {"std": [-1]}}, "std above 0"),
        ({"data": {"mean": []}}, "expected 1 finite numbers each"),
        ({"data": {"extent": 0}}, "extent: 0"),
    ],
)
def test_settings_that_contradict_each_other(run, change, words):
    path = run / "config.json"
    values = json.loads(path.read_text())
    for name, value in change.items():
        both = isinstance(value, dict) and name != "options"
        values[name] = {**values[name], **value} if both else value
    path.write_text(json.dumps(values))
    with pytest.raises(TrainingError, match=words) as refused:
        open_run(run)
    assert str(refused.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epoch", -1),
        ("step", "3"),
        ("totals", {"loss": "x"}),
        ("totals", 3),
        ("history", [{"epoch": 1}]),
        ("history", [3]),
        ("choices", {"place": {"problem": 3}}),
        ("choices", {"place": {"problem": "simt:x"}}),
        ("random", np.zeros(2)),
        ("callbacks", []),
        ("optimizer", {}),
        ("model", {}),
    ],
)
def test_a_checkpoint_with_other_values(run, name, value):
    path = run / "checkpoint.safetensors"
    save_state(path, {**load_state(path), name: value})
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors: does not fit"):
        Job.resume(run)


def test_epochs_of_a_history_may_have_different_columns(run):
    path = run / "checkpoint.safetensors"
    state = load_state(path)
    (row,) = state["history"]
    state["history"] = [{**row, "accuracy": float("nan"), "test_accuracy": float("nan")}, row]
    save_state(path, state)
    with Job.resume(run) as job:
        job.train()
    lines = (run / "history.csv").read_text().splitlines()
    assert len(lines) == 3
    assert "accuracy" in lines[0]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "not a table"),
        ({"model": 3}, "model: 3"),
        ({"model": "mlp", "data": "", "options": []}, "options: "),
        ({"model": "mlp", "data": "", "training": 3}, "training: 3"),
        ({"model": "mlp", "data": "", "training": {"optimizer": 3}}, "optimizer: 3"),
        ({"model": "mlp", "data": "", "training": {"epochs": True}}, "epochs: True"),
        ({"model": "mlp", "data": "", "training": {"epoch": 3}}, "unknown field 'epoch'"),
    ],
)
def test_a_recipe_with_other_values(tmp_path, values, words):
    path = tmp_path / "r.json"
    path.write_text(json.dumps(values))
    with pytest.raises(TrainingError, match=words) as refused:
        read_recipe(str(path))
    assert str(refused.value).startswith(f"{path}: ")
