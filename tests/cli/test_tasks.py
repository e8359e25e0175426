"""The commands with models other than image classifiers."""

import json
import re

import pytest

from gpudl.cli import main


@pytest.fixture(scope="session")
def poet(tmp_path_factory):
    """The folder of a small language model, trained on a verse."""
    folder = tmp_path_factory.mktemp("poet")
    verse = folder / "verse.txt"
    verse.write_text("a rose is a rose is a rose is a rose.\n" * 100, encoding="utf-8")
    words = ["train", "char_gru", "--data", str(verse), "--epochs", "3", "--batch-size", "4"]
    assert main([*words, "--device", "cpu", "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.fixture(scope="session")
def painter(tmp_path_factory, blocks):
    """The folder of a small autoencoder."""
    folder = tmp_path_factory.mktemp("painter") / "run"
    words = [
        "train",
        "denoising_autoencoder",
        "--data",
        str(blocks),
        "--epochs",
        "1",
        "--device",
        "cpu",
    ]
    assert main([*words, "--out", str(folder)]) == 0
    return folder


def test_a_language_model_is_evaluated_and_continues_a_text(gpudl, poet):
    result = gpudl("evaluate", poet)
    assert result.code == 0
    last = result.out.splitlines()[-1]
    assert re.match(r"test loss \d\.\d{4} nats per character \(.* bits, perplexity .*\)$", last)
    first = gpudl("predict", poet, "a rose", "--length", 30, "--seed", 1)
    assert first.code == 0
    assert first.out.splitlines()[1].startswith("a rose")
    assert first.out == gpudl("predict", poet, "a rose", "--length", 30, "--seed", 1).out
    likeliest = gpudl("predict", poet, "a rose is a ro", "--length", 9, "--temperature", 0)
    assert "a rose is a rose is a r" in likeliest.out
    for words, message in (
        (("a daisy",), "has 'd', which is not among the 9 known characters"),
        (("",), "the text '' is empty"),
        (("a", "--temperature", -1), "temperature: -1.0; give 0 or more"),
        (("a", "--seed", -1), "argument --seed: -1 is below 0"),
        ((poet,), "run: is not a text for char_gru; give the text itself or a .txt file"),
    ):
        result = gpudl("predict", poet, *words)
        assert result.code == 2
        assert message in result.err


def test_refuses_a_text_with_other_characters(gpudl, poet, tmp_path):
    (tmp_path / "other.txt").write_text("sunflower " * 200)
    result = gpudl("evaluate", poet, "--data", tmp_path / "other.txt")
    assert result.code == 2
    assert "has 'f', which is not in the training text" in result.err
    (tmp_path / "fewer.txt").write_text("a rose is\n" * 200)
    result = gpudl("evaluate", poet, "--data", tmp_path / "fewer.txt")
    assert float(result.out.splitlines()[-1].split()[2]) < 1


def test_an_autoencoder_is_evaluated_and_reconstructs_an_image(gpudl, painter, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    result = gpudl("evaluate", painter)
    assert result.code == 0
    assert re.search(r"^test loss \d+\.\d{4}", result.out, re.MULTILINE)
    Image.new("L", (28, 28), 128).save(tmp_path / "grey.png")
    result = gpudl("predict", painter, "grey.png")
    assert result.code == 0
    assert "mean squared error" in result.out
    assert (painter / "predictions/grey.png").exists()


def test_a_gan_is_trained_but_makes_no_predictions(gpudl, blocks, tmp_path):
    result = gpudl("train", "dcgan", "--data", blocks, "--epochs", 1, "--limit", 8, "--out", "run")
    assert result.code == 0, result.err
    assert (tmp_path / "run/samples.png").exists()
    result = gpudl("predict", "run", "a.png")
    assert result.code == 2
    assert result.err.endswith("makes no predictions for an image; see the pictures in run\n")


def test_recipes_are_listed_and_run(gpudl, blocks, tmp_path):
    assert "char-lstm-shakespeare" in gpudl("models", "--recipes").out
    recipe = {"model": "mlp", "data": str(blocks), "training": {"epochs": 7, "lr": 0.01}}
    (tmp_path / "mine.json").write_text(json.dumps({**recipe, "options": {"hidden": [9]}}))
    result = gpudl("train", "--recipe", "mine.json", "--epochs", 1, "--out", "run")
    assert result.code == 0, result.err
    config = json.loads((tmp_path / "run/config.json").read_text())
    assert (config["training"]["epochs"], config["training"]["lr"]) == (1, 0.01)
    assert config["options"]["hidden"] == [9]
    assert "leave out mlp or --recipe" in gpudl("train", "mlp", "--recipe", "mine.json").err
    assert "did you mean char-lstm-shakespeare" in gpudl("train", "--recipe", "char-lstm").err
