"""VGG: published parameter counts, torchvision's outputs and initial weights."""

import numpy as np
import pytest

import gpudl
from gpudl import models
from gpudl.models.nets.vgg import DEPTHS, VGG
from tests.models.agreement import agree, agree_in_training, count, train_a_step
from tests.models.stir import stir

PARAMETERS = {11: 132_863_336, 13: 133_047_848, 16: 138_357_544, 19: 143_667_240}
FILTERS = {11: 2752, 13: 2944, 16: 4224, 19: 5504}  # batch norm has two numbers for each


@pytest.mark.parametrize("depth", PARAMETERS)
def test_number_of_parameters(depth):
    assert count(f"vgg{depth}") == PARAMETERS[depth]
    assert count(f"vgg{depth}_bn") == PARAMETERS[depth] + 2 * FILTERS[depth]


@pytest.mark.parametrize("name", [f"vgg{depth}{norm}" for depth in DEPTHS for norm in ("", "_bn")])
def test_names_of_torchvision(torchvision, name):
    import torch

    with torch.device("meta"), gpudl.device("meta"):
        own, peer = models.create(name), getattr(torchvision.models, name)()
    shapes = {name: tuple(value.shape) for name, value in peer.state_dict().items()}
    assert {name: value.shape for name, value in own.state_dict().items()} == shapes


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "norm"), [(11, False), (11, True), (13, True), (16, True)])
def test_logits_of_torchvision(torchvision, depth, norm):
    """With few hidden units; the other layers have full size."""
    from torch import nn as torch_nn

    vgg = torchvision.models.vgg
    letter = {11: "A", 13: "B", 16: "D"}[depth]
    features = stir(vgg.make_layers(vgg.cfgs[letter], norm))
    peer = torch_nn.Module.__new__(vgg.VGG)
    torch_nn.Module.__init__(peer)
    peer.features, peer.avgpool = features, torch_nn.AdaptiveAvgPool2d((7, 7))
    linear, relu, drop = torch_nn.Linear, torch_nn.ReLU, torch_nn.Dropout
    peer.classifier = torch_nn.Sequential(
        linear(25088, 16), relu(), drop(), linear(16, 16), relu(), drop(), linear(16, 9)
    )
    own = VGG(DEPTHS[depth], num_classes=9, batch_norm=norm, hidden=16)
    agree(own, peer, (1, 3, 33, 32))


def test_initial_weights_as_in_torchvision():
    net = VGG((1, 1), (16, 64), num_classes=10, batch_norm=True, maps=2, hidden=32)
    state = {name: value.numpy() for name, value in net.state_dict().items()}
    fan_out = 64 * 9
    assert state["features.4.weight"].std() == pytest.approx(np.sqrt(2 / fan_out), rel=0.03)
    assert state["classifier.0.weight"].std() == pytest.approx(0.01, rel=0.03)
    assert not state["features.0.bias"].any()
    assert not state["classifier.6.bias"].any()


@pytest.mark.parametrize("norm", [True, False])
def test_logits_and_gradients_of_the_small_net_in_pytorch(norm):
    torch = pytest.importorskip("torch")
    t, layers = torch.nn, []
    for before, width in ((3, 16), (16, 32), (32, 64)):
        for inputs in (before, width):
            layers.append(t.Conv2d(inputs, width, 3, padding=1))
            layers += [t.BatchNorm2d(width), t.ReLU()] if norm else [t.ReLU()]
        layers.append(t.MaxPool2d(2))
    peer = t.Sequential()
    peer.features, peer.flatten = t.Sequential(*layers), t.Flatten()
    peer.classifier = t.Sequential(t.Linear(1024, 10))
    own = models.create("vgg_small", batch_norm=norm)
    agree(own, stir(peer), (2, 3, 32, 32))
    agree_in_training(own, peer, (2, 3, 32, 32))


@pytest.mark.parametrize("norm", [True, False])
def test_small_net_trains(norm):
    net = models.create("vgg_small", widths=(4, 8), batch_norm=norm)
    train_a_step(net, (8, 3, 32, 32))
