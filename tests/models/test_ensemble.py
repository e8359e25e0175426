"""Ensembles: the average of several nets."""

import numpy as np
import pytest

import gpudl
from gpudl import models, nn
from gpudl.models.nets.ensemble import Ensemble
from gpudl.nn import functional as F


def nets(count):
    gpudl.manual_seed(0)
    return [models.create("mlp", image_size=4, hidden=(5,), num_classes=3) for _ in range(count)]


def some_images():
    return gpudl.tensor(np.random.default_rng(0).standard_normal((6, 1, 4, 4)).astype(np.float32))


def test_the_output_is_the_log_of_the_mean_probabilities():
    members, images = nets(3), some_images()
    mean = np.mean([F.softmax(net(images), 1).detach().numpy() for net in members], axis=0)
    np.testing.assert_allclose(Ensemble(members)(images).exp().detach().numpy(), mean, rtol=1e-5)


def test_the_cross_entropy_is_at_most_the_mean_of_the_members():
    members, images = nets(4), some_images()
    labels = gpudl.tensor(np.array([0, 1, 2, 0, 1, 2]))
    each = [F.cross_entropy(net(images), labels).item() for net in members]
    assert F.cross_entropy(Ensemble(members)(images), labels).item() < np.mean(each)


def test_members_train_together():
    ensemble = Ensemble(nets(2))
    F.cross_entropy(ensemble(some_images()), gpudl.tensor(np.zeros(6, np.int64))).backward()
    assert all(p.grad is not None for p in ensemble.parameters())
    assert "members.1.layers.1.weight" in ensemble.state_dict()


def test_an_empty_ensemble_is_refused():
    with pytest.raises(ValueError, match="members is empty"):
        Ensemble([])
    assert isinstance(Ensemble(nets(1)), nn.Module)
