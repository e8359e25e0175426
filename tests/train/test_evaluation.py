"""Evaluations of models whose loss draws random numbers always give the same result."""

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.models import registry
from gpudl.train import Job, StoppedError, configure
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
