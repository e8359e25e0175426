"""Classifiers of short texts: training, evaluation, predictions, refusals."""

import pytest

from gpudl.data import DataError
from gpudl.models import registry
from gpudl.models.nets.char_conv import TextConv
from gpudl.train import Evaluation, Job, TrainingError, configure

CPU = {"device": "cpu", "batch_size": 16}


@pytest.fixture(autouse=True)
def reader(monkeypatch):
    """Registers `reader_here`, a small net for texts."""
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))

    def reader_here(vocabulary: int = 65, num_classes: int = 2, channels=(16, 16)):
        return TextConv(vocabulary, num_classes, channels, embedding=8)

    register = registry.register(
        (80,), "tiny-shakespeare", "here", 2026, task="text-classification"
    )
    register(reader_here)


@pytest.fixture
def languages(tmp_path):
    """A folder of two files whose lines differ in their letters."""
    folder = tmp_path / "languages"
    folder.mkdir()
    vowels = [f"{'aeiou'[i % 5] * (3 + i % 7)} {'oau'[i % 3]}" for i in range(60)]
    others = [f"{'bcdfg'[i % 5] * (3 + i % 7)} {'tsr'[i % 3]}" for i in range(60)]
    (folder / "vowels.txt").write_text("\n".join(vowels))
    (folder / "others.txt").write_text("\n".join(others))
    return folder


@pytest.fixture
def verse(tmp_path):
    path = tmp_path / "verse.txt"
    path.write_text("a rose is a rose is a rose is a rose, and so it is.\n" * 40)
    return path


def test_lines_of_two_files_are_distinguished(gpudl, languages, tmp_path):
    words = ("--data", languages, "--epochs", 4, "--batch-size", 8, "--lr", 0.01, "--out", "run")
    result = gpudl("train", "reader_here", *words)
    assert result.code == 0, result.err
    assert "texts/s" in result.out
    assert (tmp_path / "run/mistakes.txt").exists()
    assert (tmp_path / "run/confusion.png").exists()
    assert "(24 of 24)" in gpudl("evaluate", "run").out.splitlines()[-1]
    (tmp_path / "line.txt").write_text("bbb t\n")
    result = gpudl("predict", "run", "aa o" * 30, "line.txt")
    assert result.code == 0, result.err
    first, second = result.out.splitlines()[-2:]
    assert first.split("…")[1].split()[0] == "vowels"
    assert second.split()[2] == "others"
    for text, message in (
        ("xylophone", "has 'h', which is not among the"),
        ("", "the text '' is empty; give at least one character"),
        ("missing.txt", "missing.txt: cannot be read"),
    ):
        result = gpudl("predict", "run", text)
        assert result.code == 2
        assert message in result.err


def test_pieces_of_a_text_are_distinguished_from_forgeries(verse, tmp_path):
    settings = configure("reader_here", data=str(verse), limit=64, epochs=1, window=40, **CPU)
    data = settings.config.data
    assert data.classes == ("forged", "genuine")
    assert set(data.characters) == set(verse.read_text())
    assert settings.config.options["vocabulary"] == len(data.characters)
    assert settings.config.input_shape == (40,)
    with Job.start(settings, tmp_path / "run") as job:
        job.train()
        assert isinstance(job.finish(), Evaluation)
    Job.resume(tmp_path / "run").close()


def test_other_texts_are_read_with_the_training_characters(gpudl, languages, verse, tmp_path):
    words = ("--data", languages, "--epochs", 1, "--out", "run")
    assert gpudl("train", "reader_here", *words).code == 0
    other = tmp_path / "other"
    other.mkdir()
    (other / "vowels.txt").write_text("oo a\n" * 10)
    (other / "others.txt").write_text("bb r\n" * 10)
    assert "test accuracy" in gpudl("evaluate", "run", "--data", other).out
    (other / "others.txt").write_text("bb y\n" * 10)
    assert "has 'y', which is not in the training" in gpudl("evaluate", "run", "--data", other).err
    refused = gpudl("evaluate", "run", "--data", verse)
    assert "the classes forged, genuine, but the model has others, vowels" in refused.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "mnist"}, "mnist: is not a text to train reader_here on; give tiny-sh"),
        ({"data": "blocks"}, "blocks.npz: is not a text"),
        ({"window": 300}, "--window: 300, but a part of"),
        ({"augment": "shift"}, "--augment: reader_here learns from text"),
        ({"classes": ("genuine", "fake")}, "has no class 'fake'; it has forged, genuine"),
    ],
)
def test_refuses_invalid_settings(verse, blocks, options, message):
    options = {"data": str(verse), **options}
    options["data"] = str(blocks) if options["data"] == "blocks" else options["data"]
    with pytest.raises((TrainingError, DataError), match=message):
        configure("reader_here", **options, **CPU)
