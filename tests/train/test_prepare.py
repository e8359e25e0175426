"""The checks before training, their order, and when memory is allocated."""

import pytest

from gpudl import nn
from gpudl.models import registry
from gpudl.train import Job, TrainingError, configure


def test_a_model_gets_its_weights_when_training_starts(monkeypatch, blocks, tmp_path):
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))
    devices = []

    def watched(num_classes: int = 10):
        net = nn.Sequential(nn.Flatten(), nn.Linear(784, num_classes))
        devices.append(net[1].weight.device.name)
        return net

    registry.register((1, 28, 28), "mnist", "here", 2026)(watched)
    prepared = configure("watched", data=str(blocks))
    assert devices == ["meta"]
    assert prepared.config.parameters == 7850
    Job.start(prepared, tmp_path / "run").close()
    assert devices == ["meta", "cpu"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"options": {"hiden": [9]}},
            "--option hiden: mlp has no such option; did you mean hid",
        ),
        (
            {"options": {"x": 1}},
            "--option x: .* it has num_classes, in_channels, image_size, hidden",
        ),
        ({"window": 9}, "--window: mlp does not learn from text"),
        ({"lr": -1.0}, "--lr: -1.0"),
        ({"schedule": "cosinus"}, "--schedule: 'cosinus' is unknown; did you mean cosine"),
    ],
)
def test_settings_are_checked_before_the_data_are_read(given, message):
    with pytest.raises(TrainingError, match=message):
        configure("mlp", data="/not/there.npz", **given)


def test_refuses_a_model_that_does_not_accept_the_samples(monkeypatch, blocks):
    monkeypatch.setattr(registry, "_MODELS", dict(registry._MODELS))

    def narrow(num_classes: int = 10, pixels: int = 784):
        return nn.Sequential(nn.Flatten(), nn.Linear(pixels, num_classes))

    registry.register((1, 28, 28), "mnist", "here", 2026)(narrow)
    assert configure("narrow", data=str(blocks)).config.parameters == 7850
    with pytest.raises(
        TrainingError, match=r"narrow with .* does not accept samples of shape \(1, 28, 28\)"
    ):
        configure("narrow", data=str(blocks), options={"pixels": 700})
