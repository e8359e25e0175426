"""Evaluations of models whose loss draws random numbers always give the same result."""

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.models import registry
from gpudl.train import Evaluation, Job, StoppedError, configure
from gpudl.train.config import Config, Data, Training
from gpudl.train.run import Run
from gpudl.train.tasks import classification
from gpudl.train.tasks.base import Finished
from tests.train.resuming import assert_same_weights, finish

BATCHES = 3  # of the test part


class Drawing(nn.Module):
    """Its loss compares images with its outputs for noisy ones."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(784, 784)

    def loss(self, images):
        flat = images.flatten(1)
        noisy = flat + gpudl.randn_like(flat)
        return (self.linear(noisy) - flat).square().mean()


@pytest.fixture
def settings(monkeypatch, tmp_path):
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))

    def drawing_here():
        return Drawing()

    registry.register((1, 28, 28), "mnist", "here", 2026, task="reconstruction")(drawing_here)
    images = np.random.default_rng(0).integers(0, 256, (256 * BATCHES, 28, 28)).astype(np.uint8)
    few = images[:32]
    labels = np.zeros(len(images), np.int64)
    np.savez(
        tmp_path / "noise.npz", train_images=few, train_labels=labels[:32],
        test_images=images, test_labels=labels,
    )  # fmt: skip
    return configure("drawing_here", data=str(tmp_path / "noise.npz"), epochs=2, batch_size=16)


def test_evaluation_gives_the_same_result_during_training_and_after(settings, tmp_path):
    job = finish(Job.start(settings, tmp_path / "run"))
    again = Job.resume(tmp_path / "run")
    with again:
        assert again.finish() == job.trainer.evaluation


def test_evaluation_does_not_affect_the_random_numbers_of_training(settings, tmp_path):
    evaluated = finish(Job.start(settings, tmp_path / "evaluated"))
    job = Job.start(settings, tmp_path / "alone")
    job.trainer.test = None
    finish(job)
    assert_same_weights(evaluated.run, job.run)


def test_training_stopped_during_evaluation_resumes_bit_for_bit(settings, tmp_path):
    whole = finish(Job.start(settings, tmp_path / "whole"))
    job = Job.start(settings, tmp_path / "parts")
    seen = []

    def stop_in_the_second_batch(trainer):
        seen.append(trainer.epoch)
        if len(seen) == 2:
            job.stop_request.request("test")

    job.progress.on_evaluation_step = stop_in_the_second_batch
    with job, pytest.raises(StoppedError):
        job.train()
    assert seen == [0, 0]
    again = finish(Job.resume(job.run))
    assert_same_weights(whole.run, again.run)
    losses = [[row.test_loss for row in one.trainer.history] for one in (whole, again)]
    assert losses[0] == losses[1]


def test_the_confusion_of_very_many_classes_is_drawn_in_blocks(tmp_path, monkeypatch):
    """A matrix of 50,000 by 50,000 counts would take 20 GB."""
    drawn = []
    monkeypatch.setattr("gpudl.train.report.draw_confusion", lambda *args: drawn.append(args))
    labels, logits = np.array([0, 49_999]), np.zeros((2, 50_000), np.float32)
    logits[1, 49_999] = 1
    classes = tuple(map(str, range(50_000)))
    config = Config("m", Data("own", classes=classes), Training())
    evaluation = Evaluation(1.0, logits, labels)
    classification.draw_confusion(
        Finished(Run(tmp_path), config, None, None, "own", evaluation, [])
    )
    _, matrix, names, title = drawn[0]
    assert matrix.shape == (1000, 1000)
    assert (matrix[0, 0], matrix[999, 999], matrix.sum()) == (1, 1, 2)
    assert names[:2] == ("0", "50")
    assert "each cell is of 50 classes" in title
