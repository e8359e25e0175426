"""Training steps of models whose features learn first, then a linear layer on them."""

import functools
from itertools import pairwise

import numpy as np

import gpudl
from gpudl import models


def test_steps_after_the_features_are_taught_do_not_read_the_device(monkeypatch):
    net = models.gaussian_net(num_classes=3, image_size=2, centres=6)
    steps = net.make_stepper(functools.partial(gpudl.optim.SGD, lr=0.1))
    images = gpudl.tensor(np.random.default_rng(0).random((4, 1, 2, 2), np.float32))
    labels = gpudl.tensor([0, 1, 2, 0])
    reads = []
    item = gpudl.Tensor.item
    monkeypatch.setattr(gpudl.Tensor, "item", lambda self: reads.append(1) or item(self))
    counts, weights = [], []
    for _ in range(5):
        reads.clear()
        steps.step(images, labels)
        counts.append(len(reads))
        weights.append(net.readout.weight.detach().numpy().copy())
    assert net.seen.tolist() == [6]
    assert counts[3:] == [0, 0]
    changed = [bool((a != b).any()) for a, b in pairwise(weights)]
    assert changed == [False, True, True, True]  # 4 images teach, then 2; then the layer learns
