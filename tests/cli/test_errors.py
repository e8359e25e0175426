"""Every error: one sentence with a fix, exit code 2, no traceback."""

import json
import os
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from gpudl.data import DataError, load
from gpudl.train import TrainingError, configure


def refused(result, *parts):
    assert result.code == 2
    lines = result.err.strip().splitlines()
    assert len(lines) == 1, result.err
    assert lines[0].startswith("gpudl: error: ")
    for part in parts:
        assert re.search(part, lines[0]), lines[0]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("trian", ["did you mean train"]),
        ("train", ["no model", "gpudl models"]),
        ("train lenet", ["did you mean 'lenet5'"]),
        ("train MLP", ["did you mean 'mlp'"]),
        ("train LeNet-5", ["did you mean 'lenet5'"]),
        ("train Resnet-18", ["did you mean 'resnet18'"]),
        ("train lenet5 --optimizer SGD", ["did you mean sgd"]),
        ("train lenet5 --data=", ["--data: '' is empty; give a value or leave it out"]),
        ("train lenet5 --data-dir=", ["--data-dir: '' is empty"]),
        ("train lenet5 --out=", ["--out: '' is empty"]),
        ("evaluate run --data=", ["--data: '' is empty"]),
        ("predict run a.png --out=", ["--out: '' is empty"]),
        ("train lenet5 --data mnit", ["did you mean mnist"]),
        ("train lenet5 --data /not/there", ["does not exist"]),
        ("train lenet5 --optimizer adan", ["did you mean adam"]),
        ("train lenet5 --schedule cosinus", ["did you mean cosine"]),
        ("train lenet5 --augment turn", ["give one of shift"]),
        ("train lenet5 --epochs 0", ["--epochs: 0; give 1 or more"]),
        ("train lenet5 --epochs many", ["--epochs", "gpudl train --help"]),
        ("train lenet5 --batch-size -3", ["--batch-size"]),
        ("train lenet5 --lr nan", ["--lr"]),
        ("train lenet5 --lr 0", ["--lr"]),
        ("train lenet5 --momentum 0.9", ["adam has none"]),
        ("train lenet5 --optimizer sgd --momentum 1", ["--momentum: 1"]),
        ("train lenet5 --seed -1", ["--seed"]),
        ("train lenet5 --limit 0", ["--limit", "not above 0"]),
        ("train lenet5 --option dropout=0.5", ["lenet5 has no such option", "num_classes"]),
        ("train lenet5 --option dropout", ["NAME=VALUE"]),
        ("train lenet5 --option num_class=9", ["did you mean num_classes"]),
        ("train lenet5 --save-every nan", ["--save-every", "not a number of seconds from 0 up"]),
        ("train lenet5 --classes 1,,2", ["--classes", "an empty name"]),
        ("zoo lenet5 --seed -1", ["--seed: -1 is below 0"]),
        ("train lenet5 --device gpu", ["--device: 'gpu'", "cpu, emulator, cuda"]),
        ("train lenet5 --nonsense 1", ["--nonsense"]),
        ("train --resume nowhere", ["nowhere: is not a run"]),
        ("evaluate nowhere", ["nowhere: is not a run"]),
        ("predict nowhere a.png", ["nowhere: is not a run"]),
        ("bench --suite x", ["--suite"]),
        ("bench --device tpu", ["--device: 'tpu'"]),
        ("where conv2e", ["'conv2e' is unknown; did you mean conv2d"]),
        ("where nn.", ["'nn.' is unknown; give an operator, function, layer, model or optimizer"]),
    ],
)
def test_wrong_arguments(gpudl, words, parts):
    refused(gpudl(*words.split()), *parts)


def test_missing_and_damaged_data(gpudl, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(gpudl("train", "lenet5", "--data", "./empty"), "has no images")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04" + b"x" * 99)
    refused(gpudl("train", "lenet5", "--data", "bad.npz"), r"bad\.npz")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("option", "part"),
    [
        ("num_classes=20", "--option num_classes: 20, but the data have 10; leave it out"),
        ("in_channels=3", "--option in_channels: 3, but the data have 1; leave it out"),
        ("image_size=32", "--option image_size: 32, but the data have 28; leave it out"),
        ("hidden=[0]", "mlp cannot be built with .*check --option"),
    ],
)
def test_options_that_do_not_fit_the_data(gpudl, blocks, tmp_path, option, part):
    """They are refused before a run is created."""
    refused(gpudl("train", "mlp", "--data", blocks, "--option", option), part)
    assert not (tmp_path / "runs").exists()


def test_data_of_another_kind(gpudl, blocks, tmp_path):
    (tmp_path / "verse.txt").write_text("a rose is a rose. " * 100)
    (tmp_path / "folder").mkdir()
    for model in ("lenet5", "dense_vae", "dcgan", "dbn"):
        refused(gpudl("train", model, "--data", "verse.txt"), f"has no images to train {model} on")
    for data in ("mnist", blocks, "folder"):
        refused(gpudl("train", "char_gru", "--data", data), "is not a text to train char_gru on")
    words = ("train", "char_gru", "--data", "verse.txt", "--option", "vocabulary=3")
    refused(gpudl(*words), "--option vocabulary: 3, but the data have 8; leave it out")
    arrays = {"images": np.zeros((20, 28, 28), np.uint8), "labels": np.arange(20) - 1}
    np.savez(tmp_path / "below.npz", **arrays)
    refused(gpudl("train", "mlp", "--data", "below.npz"), "label -1 of .*a whole number from 0")
    arrays["labels"] = arrays["labels"] * 0
    np.savez(tmp_path / "one.npz", **arrays)
    for model in ("mlp", "dbn"):
        refused(gpudl("train", model, "--data", "one.npz"), "has 1 class, expected two or more")


def test_out_with_files(gpudl, blocks, trained, tmp_path):
    before = sorted((path.name, path.stat().st_mtime_ns) for path in trained.iterdir())
    result = gpudl("train", "mlp", "--data", blocks, "--out", trained)
    refused(result, "already has files in it", "--resume", "--out")
    assert sorted((path.name, path.stat().st_mtime_ns) for path in trained.iterdir()) == before
    (tmp_path / "file").write_text("mine")
    refused(gpudl("train", "mlp", "--data", blocks, "--out", "file"), "cannot be written")
    assert (tmp_path / "file").read_text() == "mine"


def test_resume_takes_its_settings_from_the_run(gpudl, trained):
    refused(gpudl("train", "--resume", trained, "--lr", "0.1"), "leave out --lr")
    refused(gpudl("train", "mlp", "--resume", trained), "leave out the model")


def test_a_damaged_checkpoint(gpudl, blocks, tmp_path):
    assert gpudl("train", "mlp", "--data", blocks, "--epochs", 1, "--out", "r").code == 0
    path = tmp_path / "r" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refused(gpudl("train", "--resume", "r"), r"checkpoint\.safetensors: is damaged")
    (tmp_path / "r" / "config.json").write_text("{}")
    refused(gpudl("train", "--resume", "r"), r"config\.json: is not a configuration")


def test_weights_of_another_model(gpudl, blocks, tmp_path):
    assert gpudl("train", "mlp", "--data", blocks, "--epochs", 1, "--out", "r").code == 0
    config = tmp_path / "r" / "config.json"
    config.write_text(config.read_text().replace('"model": "mlp"', '"model": "lenet5"'))
    refused(gpudl("evaluate", "r"), "lenet5 cannot be built with")


def test_missing_and_damaged_images(gpudl, trained, tmp_path):
    refused(gpudl("predict", trained, "nothing.png"), r"nothing\.png: does not exist")
    refused(gpudl("predict", trained, tmp_path), "has no images")
    (tmp_path / "text.png").write_text("hello")
    refused(gpudl("predict", trained, "text.png"), r"text\.png: is not a readable image")


def test_a_loss_that_is_not_finite(gpudl, blocks, tmp_path):
    options = ("--optimizer", "sgd", "--lr", "1e30", "--schedule", "constant", "--out", "r")
    result = gpudl("train", "mlp", "--data", blocks, *options)
    refused(
        result, "finite|loss is", "smaller learning rate", r"state is in r/checkpoint\.safetensors"
    )
    assert (tmp_path / "r" / "checkpoint.safetensors").exists()


def test_no_images_to_train_on(gpudl, tmp_path):
    none = np.zeros((0, 28, 28), np.uint8)
    one = np.zeros((1, 28, 28), np.uint8)
    np.savez(tmp_path / "d.npz", train_images=one, train_labels=[0], test_images=none,
             test_labels=np.zeros(0, np.int64))  # fmt: skip
    refused(gpudl("train", "mlp", "--data", "d.npz"), r"d\.npz")


def test_debug_shows_the_traceback(gpudl):
    with pytest.raises(Exception, match="lenet5"):
        gpudl("train", "lenet", "--debug")


def test_links_in_a_run_of_others_are_not_followed(gpudl, blocks, trained, tmp_path):
    run, mine = shutil.copytree(trained, tmp_path / "run"), tmp_path / "mine"
    mine.mkdir()
    for name in ("history.csv", "model.safetensors", "curves.png", "filters.png", "confusion.png"):
        (mine / name).write_text("mine")
        (run / name).unlink(missing_ok=True)
        (run / name).symlink_to(mine / name)
    (run / "checkpoint.safetensors").unlink()
    shutil.rmtree(run / "predictions", ignore_errors=True)  # of a test that ran before
    assert gpudl("train", "--resume", run).code == 0
    assert {path.read_text() for path in mine.iterdir()} == {"mine"}
    (run / "predictions").symlink_to(mine)
    Image.new("L", (28, 28)).save(tmp_path / "a.png")
    refused(gpudl("predict", run, "a.png"), "predictions: is a link")


def test_a_link_to_itself(gpudl, tmp_path):
    for name in ("a.npz", "a.txt", "folder"):
        (tmp_path / name).symlink_to(name)
        refused(gpudl("train", "mlp", "--data", f"./{name}"), name)
    refused(gpudl("train", "mlp", "--data", "mnist", "--data-dir", "folder"), "folder: does not")


@pytest.mark.parametrize("target", ["gone", "checkpoint.safetensors"], ids=["dangling", "looping"])
def test_a_checkpoint_that_is_a_link_to_nothing_is_no_new_start(gpudl, trained, tmp_path, target):
    shutil.copytree(trained, tmp_path / "r")
    for name in ("checkpoint", "model"):
        (tmp_path / "r" / f"{name}.safetensors").unlink()
    (tmp_path / "r" / "checkpoint.safetensors").symlink_to(target)
    for command in (("train", "--resume", "r"), ("evaluate", "r")):
        result = gpudl(*command)
        assert result.code == 2
        assert "link that leads to no file" in result.err


def test_an_empty_data_dir_is_not_the_default(blocks):
    with pytest.raises(TrainingError, match="data_dir is empty"):
        configure("mlp", data=str(blocks), data_dir="")
    with pytest.raises(DataError, match="data_dir is empty"):
        load(str(blocks), data_dir="")


def test_long_names_in_a_message_are_cut(gpudl, tmp_path):
    np.savez(tmp_path / "own.npz", **{f"{'x' * 100}{n}": [1] for n in range(100)})
    result = gpudl("train", "mlp", "--data", "own.npz")
    refused(result, "own.npz: has the arrays x", " … ", "or images and labels")
    assert len(result.err) < 1100


def test_a_value_of_an_option_is_cut_in_a_message(gpudl, blocks):
    result = gpudl("train", "mlp", "--data", blocks, "--option", f"dropout={'9' * 5000}")
    refused(result, "mlp cannot be built with .*; check --option")
    assert len(result.err) < 600


def test_names_of_files_that_are_not_utf8(gpudl, tmp_path):
    """A model is trained on such classes, evaluated, and applied to such a file."""
    for number, name in enumerate(("caf\udce9", "the  other")):
        (tmp_path / "own" / name).mkdir(parents=True)
        for copy in range(3):
            grey = np.full((28, 28), 200 * number + copy, np.uint8)
            Image.fromarray(grey).save(tmp_path / "own" / name / f"\udcff{copy}.png")
    words = "train", "mlp", "--data", "own/", "--epochs", 1, "--out", "r", "--device", "cpu"
    assert gpudl(*words).code == 0
    assert gpudl("evaluate", "r").code == 0
    result = gpudl("predict", "r", "own/caf\udce9/\udcff0.png")
    assert result.code == 0, result.err
    assert (tmp_path / "r" / "predictions" / "\udcff0.png").exists()


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("training", "lr", 10**400, "lr: 1000.*expected float"),
        ("data", "std", [10**400], "std: .*expected tuple"),
        ("data", "limit", -5, "limit: -5, expected 1 or more"),
    ],
)
def test_numbers_in_the_settings_that_mean_nothing(
    gpudl, trained, tmp_path, part, name, value, message
):
    shutil.copytree(trained, tmp_path / "r")
    settings = json.loads((tmp_path / "r" / "config.json").read_text())
    settings[part][name] = value
    (tmp_path / "r" / "config.json").write_text(json.dumps(settings))
    refused(gpudl("evaluate", "r"), "r/config.json: ", message)
    refused(gpudl("train", "--resume", "r"), "r/config.json: ", message)


def test_a_limit_in_python_is_checked_too(blocks):
    with pytest.raises(TrainingError, match="--limit: -5; give 1 or more"):
        configure("mlp", data=str(blocks), limit=-5)


def test_outputs_that_are_no_numbers(gpudl, trained, tmp_path):
    """Damaged settings make them, with good weights."""
    shutil.copytree(trained, tmp_path / "r")
    settings = json.loads((tmp_path / "r" / "config.json").read_text())
    settings["data"]["std"] = [5e-324]
    (tmp_path / "r" / "config.json").write_text(json.dumps(settings))
    Image.new("L", (28, 28), 99).save(tmp_path / "a.png")
    for words in (["evaluate", "r"], ["predict", "r", "a.png"]):
        refused(gpudl(*words), "r: the model's output is NaN or infinity")


def test_a_pipe_in_place_of_the_settings(gpudl, tmp_path):
    (tmp_path / "r").mkdir()
    os.mkfifo(tmp_path / "r" / "config.json")
    refused(gpudl("evaluate", "r"), "r/config.json: cannot be read .Not a regular file")
