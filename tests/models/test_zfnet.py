"""ZFNet: the paper's shapes; deconvolution: the projection of a unit to the pixels."""

import numpy as np
import pytest

import gpudl
from gpudl import models, nn
from gpudl.models.nets.deconvolution import Deconvolution
from tests.models.agreement import agree, agree_in_training, count, train_a_step
from tests.models.stir import stir


def outputs(name):
    with gpudl.device("meta"):
        net = models.create(name)
    rows = nn.summary(net, (1, 3, 224, 224)).rows
    return [row.output[1:] for row in rows if row.kind in ("Conv2d", "MaxPool2d", "Linear")]


def test_sizes_of_the_paper():
    """Figure 3 of the paper."""
    assert outputs("zfnet") == [
        (96, 110, 110), (96, 55, 55), (256, 26, 26), (256, 13, 13), (384, 13, 13), (384, 13, 13),
        (256, 13, 13), (256, 6, 6), (4096,), (4096,), (1000,),
    ]  # fmt: skip


def test_number_of_parameters():
    first = 96 * (3 * 49 + 1) + 256 * (96 * 25 + 1)
    dense = 4096 * (256 * 36 + 1) + 4096 * 4097 + 1000 * 4097
    middle = 384 * (256 * 9 + 1) + 384 * (384 * 9 + 1) + 256 * (384 * 9 + 1)
    assert count("zfnet") == first + middle + dense == 62_357_608
    middle = 512 * (256 * 9 + 1) + 1024 * (512 * 9 + 1) + 512 * (1024 * 9 + 1)
    assert count("zfnet_wide") == first + middle + dense + 4096 * 256 * 36
    assert outputs("zfnet_wide")[4:8] == [(512, 13, 13), (1024, 13, 13), (512, 13, 13), (512, 6, 6)]


def test_logits_of_the_net_in_pytorch(torchvision):
    """Figure 3 of the paper, built from torchvision's AlexNet."""
    from torch import nn as t

    norm = {"size": 5, "alpha": 5e-4, "beta": 0.75, "k": 2.0}
    peer = torchvision.models.AlexNet(num_classes=7)
    peer.features = t.Sequential(
        *(t.Conv2d(3, 96, 7, 2, 1), t.ReLU(), t.MaxPool2d(3, 2, 1), t.LocalResponseNorm(**norm)),
        *(t.Conv2d(96, 256, 5, 2), t.ReLU(), t.MaxPool2d(3, 2, 1), t.LocalResponseNorm(**norm)),
        *(t.Conv2d(256, 384, 3, padding=1), t.ReLU(), t.Conv2d(384, 384, 3, padding=1), t.ReLU()),
        *(t.Conv2d(384, 256, 3, padding=1), t.ReLU(), t.MaxPool2d(3, 2)),
    )
    peer.classifier = t.Sequential(
        *(t.Linear(9216, 32), t.ReLU(), t.Dropout(), t.Linear(32, 32), t.ReLU(), t.Dropout()),
        t.Linear(32, 7),
    )
    agree(models.create("zfnet", num_classes=7, hidden=32), stir(peer), (1, 3, 67, 64))


def test_logits_and_gradients_of_the_small_net_in_pytorch():
    torch = pytest.importorskip("torch")
    t = torch.nn
    peer = t.Sequential()
    peer.features = t.Sequential(
        *(t.Conv2d(3, 32, 5, padding=2), t.ReLU(), t.MaxPool2d(2)),
        *(t.Conv2d(32, 64, 3, padding=1), t.ReLU(), t.MaxPool2d(2)),
        *(t.Conv2d(64, 96, 3, padding=1), t.ReLU(), t.Conv2d(96, 96, 3, padding=1), t.ReLU()),
        *(t.Conv2d(96, 64, 3, padding=1), t.ReLU(), t.MaxPool2d(2)),
    )
    peer.flatten = t.Flatten()
    peer.classifier = t.Sequential(
        *(t.Linear(1024, 256), t.ReLU(), t.Dropout(0), t.Linear(256, 256), t.ReLU(), t.Dropout(0)),
        t.Linear(256, 10),
    )
    own = models.create("zfnet_small")
    agree(own, stir(peer), (3, 3, 32, 32))
    agree_in_training(own, peer, (2, 3, 32, 32))


def test_small_net_trains():
    train_a_step(models.create("zfnet_small"), (8, 3, 32, 32))


def draw(*shape):
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def strongest_gradient(net, images, channel):
    """Gradient of the channel's largest activation of each image, times that activation."""
    x = gpudl.tensor(images, requires_grad=True)
    y = net(x)[:, channel].flatten(1)
    peak = y.max(1)[0]
    (peak * peak / 2).sum().backward()
    return x.grad.numpy()


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Conv2d(3, 4, 5, stride=2, padding=1), nn.MaxPool2d(3, 2, padding=1)],
        [nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.MaxPool2d(2)],
        [nn.Conv2d(3, 6, 3, dilation=2), nn.MaxPool2d(2), nn.Conv2d(6, 4, 3, groups=2)],
    ],
    ids=["stride", "batch norm", "dilation and groups"],
)
def test_without_relu_the_projection_is_the_gradient(layers):
    net, images = nn.Sequential(*layers).eval(), draw(2, 3, 15, 13)
    got = Deconvolution(net).pictures(images, channel=2)
    np.testing.assert_allclose(got, strongest_gradient(net, images, 2), rtol=1e-4, atol=1e-5)


def test_the_projection_rectifies_its_signal():
    """Two filters with opposite signs: the negative signal is cut off."""
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(2, 1, 1, bias=False))
    net[0].weight.array[...] = np.reshape([1, 1], (2, 1, 1, 1))
    net[2].weight.array[...] = np.reshape([3, -1], (1, 2, 1, 1))
    image = np.full((1, 1, 1, 1), 2, np.float32)  # hidden 2 and 2, output 6 - 2 = 4
    assert Deconvolution(net).pictures(image, 0).item() == 12  # relu(3 * 4) + relu(-1 * 4)
    assert strongest_gradient(net, image, 0).item() == 8


def test_only_the_receptive_field_is_drawn():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3))
    picture = Deconvolution(net).pictures(draw(1, 3, 20, 20), 1)[0]
    rows, columns = np.nonzero(picture.any(0))
    assert max(np.ptp(rows), np.ptp(columns)) < 8  # 3 pooled outputs of 2 pixels each, plus 2


def test_images_go_to_the_device_of_the_weights():
    net, images = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2)), draw(2, 3, 9, 9)
    wanted = Deconvolution(net).pictures(images, 1)
    deconvolution = Deconvolution(net.to("emulator"))
    np.testing.assert_allclose(deconvolution.pictures(images, 1), wanted, rtol=1e-5, atol=1e-6)
    assert sorted(deconvolution.strongest(images, 1, 2)) == [0, 1]


def test_strongest_images_come_first():
    images = np.zeros((5, 1, 4, 4), np.float32)
    images[[3, 1], 0, 2, 2] = [5, 2]
    net = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False))
    net[0].weight.array[...] = 1
    assert Deconvolution(net).strongest(images, 0, 2, batch=2).tolist() == [3, 1]


def test_unsupported_layers_are_refused():
    with pytest.raises(TypeError, match="Linear is not supported; it takes Conv2d"):
        Deconvolution([nn.Linear(2, 2)])
