"""AlexNet: published parameter counts, torchvision's outputs, the paper's shapes."""

import numpy as np
import pytest

import gpudl
from gpudl import models, nn
from tests.models.agreement import agree, agree_in_training, count, train_a_step
from tests.models.stir import stir


@pytest.mark.parametrize(
    ("name", "parameters"), [("alexnet_2012", 60_965_224), ("alexnet", 61_100_840)]
)
def test_number_of_parameters(name, parameters):
    assert count(name) == parameters


# The ablations of Zeiler and Fergus 2014, section 5, with the paper's grouped net.
@pytest.mark.parametrize(
    ("without", "parameters"),
    [
        (("fc7",), 60_965_224 - 4096 * 4097),
        (("fc6", "fc7"), 2_334_080 + 9216 * 1000 + 1000),
        (
            ("conv3", "conv4", "fc6", "fc7"),
            96 * (3 * 121 + 1) + 256 * (48 * 25 + 1) + 256 * (128 * 9 + 1) + 1000 * 9217,
        ),
        (("conv3", "conv4"), 60_965_224 - 384 * (256 * 9 + 1) - 384 * (192 * 9 + 1) - 256 * 64 * 9),
    ],
)
def test_without_some_layers(without, parameters):
    assert count("alexnet_2012", without=without) == parameters


def test_only_some_layers_can_be_left_out():
    with pytest.raises(ValueError, match=r"without contains \['conv1'\]; it may contain \('conv3'"):
        models.create("alexnet_small", without=["conv1"])


def test_logits_of_torchvision(torchvision):
    from torch import nn as torch_nn

    peer = torchvision.models.AlexNet(num_classes=7)
    peer.classifier[1] = torch_nn.Linear(9216, 32)  # as `hidden`: few weights, quick
    peer.classifier[4] = torch_nn.Linear(32, 32)
    peer.classifier[6] = torch_nn.Linear(32, 7)
    agree(models.create("alexnet", num_classes=7, hidden=32), peer, (1, 3, 67, 64))


def test_logits_of_the_papers_net_in_pytorch(torchvision):
    """Figure 2 and section 3 of the paper: groups and local response normalisation."""
    from torch import nn as t

    norm = {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0}  # PyTorch's alpha multiplies the mean
    peer = torchvision.models.AlexNet(num_classes=7)
    peer.features = t.Sequential(
        *(t.Conv2d(3, 96, 11, 4, 2), t.ReLU(), t.LocalResponseNorm(**norm), t.MaxPool2d(3, 2)),
        *(t.Conv2d(96, 256, 5, padding=2, groups=2), t.ReLU(), t.LocalResponseNorm(**norm)),
        *(t.MaxPool2d(3, 2), t.Conv2d(256, 384, 3, padding=1), t.ReLU()),
        *(t.Conv2d(384, 384, 3, padding=1, groups=2), t.ReLU()),
        *(t.Conv2d(384, 256, 3, padding=1, groups=2), t.ReLU(), t.MaxPool2d(3, 2)),
    )
    peer.classifier = t.Sequential(
        *(t.Linear(9216, 32), t.ReLU(), t.Dropout(), t.Linear(32, 32), t.ReLU(), t.Dropout()),
        t.Linear(32, 7),
    )
    agree(models.create("alexnet_2012", num_classes=7, hidden=32), stir(peer), (1, 3, 67, 64))


def test_names_of_torchvision(torchvision):
    import torch

    with torch.device("meta"), gpudl.device("meta"):
        own, peer = models.create("alexnet"), torchvision.models.alexnet()
    shapes = {name: tuple(value.shape) for name, value in peer.state_dict().items()}
    assert {name: value.shape for name, value in own.state_dict().items()} == shapes


def test_the_layers_have_the_papers_sizes():
    """Figure 2 of the paper: 55x55x96, 27x27x256, 13x13x384 twice, 13x13x256."""
    with gpudl.device("meta"):
        net = models.create("alexnet_2012")
    rows = nn.summary(net, (1, 3, 224, 224)).rows
    outputs = [row.output[1:] for row in rows if row.kind == "Conv2d"]
    assert outputs == [(96, 55, 55), (256, 27, 27), (384, 13, 13), (384, 13, 13), (256, 13, 13)]


def test_initial_weights_as_in_the_paper():
    net = models.create("alexnet_2012", num_classes=5, hidden=8)
    biases = [
        np.unique(p.detach().numpy()).tolist() for n, p in net.named_parameters() if "bias" in n
    ]
    assert biases == [[0], [1], [0], [1], [1], [1], [1], [0]]
    assert net.features[4].weight.detach().numpy().std() == pytest.approx(0.01, rel=0.02)


def small_twin(t, norm=False, without=()):
    """The small net in PyTorch: five convolutions, 32 pixels halved three times, two hidden layers
    of 256."""

    class Net(t.Module):
        def __init__(self):
            super().__init__()
            norms = [[t.LocalResponseNorm(5, 5e-4, 0.75, 2.0)] if norm else [] for _ in range(2)]
            middle = [t.Conv2d(64, 96, 3, padding=1), t.ReLU()]
            middle += [t.Conv2d(96, 96, 3, padding=1), t.ReLU()]
            cut = "conv3" in without
            self.features = t.Sequential(
                *(t.Conv2d(3, 32, 3, padding=1), t.ReLU(), *norms[0], t.MaxPool2d(2)),
                *(t.Conv2d(32, 64, 3, padding=1), t.ReLU(), *norms[1], t.MaxPool2d(2)),
                *([] if cut else middle),
                *(t.Conv2d(64 if cut else 96, 64, 3, padding=1), t.ReLU(), t.MaxPool2d(2)),
            )
            hidden = [t.Dropout(0), t.Linear(1024, 256), t.ReLU()]
            hidden += [t.Dropout(0), t.Linear(256, 256), t.ReLU()]
            hidden = [] if "fc6" in without else hidden
            self.classifier = t.Sequential(*hidden, t.Linear(256 if hidden else 1024, 10))

        def forward(self, x):
            return self.classifier(self.features(x).flatten(1))

    return Net()


@pytest.mark.parametrize(
    "options", [{}, {"norm": True}, {"without": ("conv3", "conv4", "fc6", "fc7")}]
)
def test_logits_and_gradients_of_the_small_net_in_pytorch(options):
    torch = pytest.importorskip("torch")
    own, peer = models.create("alexnet_small", **options), stir(small_twin(torch.nn, **options))
    agree(own, peer, (3, 3, 32, 32))
    agree_in_training(own, peer, (2, 3, 32, 32))


@pytest.mark.parametrize(
    "options", [{}, {"norm": True, "dropout": 0.5}, {"without": ("conv3", "conv4", "fc6", "fc7")}]
)
def test_small_net_trains(options):
    train_a_step(models.create("alexnet_small", **options), (8, 3, 32, 32))
