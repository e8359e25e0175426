"""Training on some classes of the data, and nets with one output for two classes."""

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.data import DataError
from gpudl.models import registry
from gpudl.train import Job, Supervised, TrainingError, configure
from gpudl.train.metrics import class_logits, evaluate

CPU = {"epochs": 2, "batch_size": 16, "device": "cpu"}


@pytest.fixture
def signs(monkeypatch):
    """Registers `sign_net`: one output, for the classes 3 and 7."""
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))

    def sign_net():
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 1))

    registry.register((1, 28, 28), "mnist", "here", 2026, {"augment": "none"}, classes=(3, 7))(
        sign_net
    )


def test_a_score_becomes_two_logits():
    scores, labels = gpudl.tensor([[2.0], [-1.0], [3.0]]), gpudl.tensor([1, 1, 0])
    np.testing.assert_array_equal(class_logits(scores).numpy(), [[0, 2], [0, -1], [0, 3]])
    logits = gpudl.tensor([[1.0, 2.0]])
    assert class_logits(logits) is logits
    signs = gpudl.tensor([[1.0], [1.0], [-1.0]])
    logistic = nn.functional.softplus(-signs * scores).mean().item()
    loss = nn.CrossEntropyLoss()
    measured = Supervised(loss).measure(lambda x: x, (scores, labels))
    assert measured.loss.item() == pytest.approx(logistic)
    assert int(measured.correct) == 1
    result = evaluate(nn.Identity(), loss, [(scores, labels)])
    assert result.predictions.tolist() == [1, 0, 1]
    np.testing.assert_allclose(result.probabilities[:, 1], 1 / (1 + np.exp([-2, 1, -3])), rtol=1e-6)


def test_a_model_for_some_classes_trains_on_them(signs, blocks, tmp_path):
    settings = configure("sign_net", data=str(blocks), **CPU)
    assert settings.config.data.classes == ("3", "7")
    assert settings.config.data.sizes == (32, 8)
    with Job.start(settings, tmp_path / "run") as job:
        job.train()
        assert job.finish().logits.shape == (8, 2)
    again = Job.resume(tmp_path / "run")
    again.close()
    assert again.config.data.only == (3, 7)
    assert set(again.split.test.labels) == {0, 1}


def test_requested_classes_take_precedence_over_the_models(signs, blocks):
    prepared = configure("sign_net", data=str(blocks), classes=("5", "2"), **CPU)
    assert prepared.config.data.classes == ("5", "2")
    prepared = configure("mlp", data=str(blocks), classes=("1", "2", "9"), limit=20, **CPU)
    assert prepared.config.options["num_classes"] == 3
    assert prepared.config.data.sizes == (20, 12)


@pytest.mark.parametrize(
    ("model", "classes", "message"),
    [
        ("mlp", ("1", "cat"), "has no class 'cat'; it has 0, 1, 2"),
        ("mlp", ("1", "1"), "--classes: 1 is given twice; give each class once"),
        ("mlp", ("1",), "has 1 class, expected two or more"),
        (
            "sign_net",
            ("1", "2", "3"),
            "distinguishes 2 classes, but the data have 3; choose 2 with --classes",
        ),
        (
            "char_rnn",
            ("1",),
            "--classes: char_rnn learns from text, which has no classes; leave it out",
        ),
    ],
)
def test_refuses_invalid_classes(signs, blocks, model, classes, message):
    with pytest.raises((TrainingError, DataError), match=message):
        configure(model, data=str(blocks), classes=classes, **CPU)
