"""The tasks of models: reconstruction, language modelling, custom training steps."""

import json
import os

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.cli import main
from gpudl.models import registry
from gpudl.train import Job, TrainingError, configure
from gpudl.train.build import Steps
from gpudl.train.objective import Supervised
from gpudl.train.recipe import read_recipe, recipe_names
from gpudl.train.tasks import language
from tests.train.resuming import assert_same_weights, finish, stopped_and_resumed

CPU = {"epochs": 2, "batch_size": 32, "device": "cpu"}


class Autoencoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(784, 16)
        self.decoder = nn.Linear(16, 784)

    def forward(self, images):
        return self.decoder(self.encoder(images.reshape(-1, 784)).relu()).sigmoid()

    def loss(self, images):
        error = ((self(images) - images.reshape(-1, 784)) ** 2).mean()
        return {"loss": error * 2, "error": error}


class Noisy(nn.Module):
    """Two optimizers, and a chain that continues from step to step."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(784, 4), nn.Linear(784, 4)
        self.register_buffer("chain", gpudl.zeros(4))

    def make_stepper(self, make_optimizer):
        return Stepper(self, make_optimizer)

    def judge(self, images, labels):
        return {"loss": self.difference(images), "ones": gpudl.ones(())}

    def difference(self, images):
        flat = images.reshape(-1, 784)
        return ((self.a(flat) - self.b(flat)) ** 2).mean()

    def sample(self, count):
        return gpudl.rand(count, 1, 28, 28)


class Stepper:
    def __init__(self, model, make_optimizer):
        self.model = model
        self.optimizers = {
            "a": make_optimizer(model.a.parameters()),
            "b": make_optimizer(model.b.parameters(), lr=0.01),
        }

    def step(self, images, labels):
        with gpudl.no_grad():
            self.model.chain.copy_(self.model.chain * 0.5 + gpudl.randn(4))
        for optimizer in self.optimizers.values():
            optimizer.zero_grad()
        loss = self.model.difference(images) + (self.model.a.bias * self.model.chain).sum()
        loss.backward()
        for optimizer in self.optimizers.values():
            optimizer.step()
        return {"loss": loss, "chain": self.model.chain.sum()}


@pytest.fixture
def registered(monkeypatch):
    """Registers the models of this file."""
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))

    def offer(name, kind, task):
        def build():
            return kind()

        build.__name__ = name
        register = registry.register((1, 28, 28), "mnist", "here", 2026, task=task)
        return register(build)

    offer("autoencoder_here", Autoencoder, "reconstruction")
    offer("noisy_here", Noisy, "own")
    offer("lossless_here", Noisy, "reconstruction")
    offer("stepless_here", Autoencoder, "own")
    offer("odd_here", Autoencoder, "divination")


@pytest.fixture(scope="session")
def verse(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "verse.txt"
    path.write_text("a rose is a rose is a rose is a rose.\n" * 100, encoding="utf-8")
    return path


def test_reconstruction(registered, blocks, tmp_path):
    job = Job.start(configure("autoencoder_here", data=str(blocks), **CPU), tmp_path / "run")
    assert job.config.data.mean == (0.0,)
    with job:
        job.train()
        scores = job.finish()
        assert list(job.draw())
    assert scores.others["error"] == pytest.approx(scores.loss / 2)
    assert job.trainer.history[1].test_loss < job.trainer.history[0].test_loss
    head = job.run.history.read_text().splitlines()[0]
    assert head == "epoch,step,loss,test_loss,error,test_error,lr,images_per_second,seconds"
    assert {p.name for p in job.run.folder.glob("*.png")} == {
        "curves.png",
        "filters.png",
        "reconstructions.png",
    }


def test_own_steps(registered, blocks, tmp_path):
    job = Job.start(configure("noisy_here", data=str(blocks), **CPU), tmp_path / "run")
    assert [g["lr"] for g in job.trainer.optimizer.param_groups] == [0.002, 0.01]
    with job:
        job.train()
        assert job.finish().others == {"ones": 1.0}
        assert list(job.draw())
    assert "chain" in job.trainer.history[0].others
    assert (job.run.folder / "samples.png").exists()


def test_language(verse, tmp_path):
    job = Job.start(configure("char_rnn", data=str(verse), epochs=6, batch_size=8), tmp_path / "r")
    assert job.config.options["vocabulary"] == len(set(verse.read_text()))
    with job:
        job.train()
        scores = job.finish()
        assert list(job.draw())
    assert scores.loss < 1.5
    assert len((job.run.folder / "sample.txt").read_text()) > 900
    assert job.task.summary(scores).startswith(f"test loss {scores.loss:.4f} nats per character")


@pytest.mark.parametrize("name", ["autoencoder_here", "noisy_here", "char_lstm"])
def test_resumes_bit_for_bit(registered, blocks, verse, tmp_path, name):
    data = str(verse if name == "char_lstm" else blocks)
    settings = configure(name, data=data, epochs=2, batch_size=32, schedule="cosine")
    whole = finish(Job.start(settings, tmp_path / "whole"))
    again = stopped_and_resumed(Job.start(settings, tmp_path / "parts"), 1)
    assert_same_weights(whole.run, again.run)
    untimed = [
        [{**row.columns(), "seconds": 0, "images_per_second": 0} for row in job.trainer.history]
        for job in (whole, again)
    ]
    assert untimed[0] == untimed[1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("lossless_here", {}, r"lossless_here: .*but has no loss\(images\)"),
        ("stepless_here", {}, r"stepless_here: .*but has no make_stepper\(make_optimizer\)"),
        ("noisy_here", {"clip": 1.0}, "--clip: noisy_here defines its own steps"),
        ("mlp", {"window": 3}, "--window: mlp does not learn from text"),
        ("char_rnn", {}, "blocks.npz: is not a text to train char_rnn on"),
        ("char_rnn", {"data": "verse", "augment": "shift"}, "--augment: char_rnn learns from text"),
        ("char_rnn", {"data": "verse", "window": 3000}, "--window: 3000, but a part of .* has 380"),
        ("char_rnn", {"data": "verse", "clip": -1.0}, "--clip: -1.0; give a number above 0"),
        ("mlp", {"data": "verse"}, "verse.txt: has no images to train mlp on; give digits"),
        ("mlp", {"options": {"num_classes": 1}}, "--option num_classes: 1, but the data have"),
    ],
)
def test_refuses_models_that_cannot_be_trained(registered, blocks, verse, name, options, message):
    options = {**options, "data": str(verse if options.get("data") == "verse" else blocks)}
    with pytest.raises((TrainingError, ValueError), match=message):
        configure(name, **options)


def test_an_unknown_task_is_refused(registered, blocks):
    with pytest.raises(
        ValueError, match="odd_here: is registered for the unknown task 'divination'"
    ):
        configure("odd_here", data=str(blocks))


def test_auxiliary_heads_add_to_the_training_loss():
    class Headed(nn.Module):
        def forward(self, x):
            return (x, x * 0) if self.training else x

    logits, labels = gpudl.tensor([[1.0, 0.0], [0.0, 3.0]]), gpudl.tensor([0, 0])
    objective = Supervised(nn.CrossEntropyLoss())
    model = Headed()
    alone = nn.CrossEntropyLoss()(logits, labels).item()
    measured = objective.measure(model, (logits, labels))
    assert measured.loss.item() == pytest.approx(alone + 0.3 * np.log(2))
    assert int(measured.correct) == 1
    assert objective.measure(model.eval(), (logits, labels)).loss.item() == pytest.approx(alone)


def test_recipes_are_read(tmp_path):
    for name in recipe_names():
        recipe = read_recipe(name)
        assert recipe.expect, name
        assert registry.info(recipe.model)
    with pytest.raises(TrainingError, match="--recipe: 'char-lstm' is unknown; did you mean char-"):
        read_recipe("char-lstm")
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"model": "mlp", "data": "digits", "training": {"speed": 3}}))
    with pytest.raises(TrainingError, match="training has the unknown field 'speed'"):
        read_recipe(str(path))
    path.write_text("{")
    with pytest.raises(TrainingError, match="is not a recipe"):
        read_recipe(str(path))


def test_the_rate_falls_at_milestones_after_a_warm_up():
    factors = [Steps((4, 6), warm_up=1)(epoch) for epoch in range(8)]
    assert factors == pytest.approx([0.1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    recipe = read_recipe("resnet110-cifar10").training  # He et al. 2016: 0.01, 0.1, 0.01, 0.001
    rate = Steps(recipe["milestones"], recipe["warm_up"])
    assert [recipe["lr"] * rate(epoch) for epoch in (0, 1, 81, 82, 123, 163)] == pytest.approx(
        [0.01, 0.1, 0.1, 0.01, 0.001, 0.001]
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", recipe_names())
def test_the_short_form_of_each_recipe_runs(name, tmp_path, monkeypatch):
    folder = os.environ.get("GPUDL_DATA")
    if not folder:
        pytest.skip("needs the real data sets: set GPUDL_DATA")
    monkeypatch.setattr(language, "SAMPLE_CHARACTERS", 20)
    words = ["--recipe", name, "--limit", "8", "--epochs", "1", "--batch-size", "4"]
    place = ["--data-dir", folder, "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main(["train", *words, *place]) == 0
    assert (tmp_path / "run/model.safetensors").exists()
