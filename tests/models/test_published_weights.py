"""Weights trained and saved with PyTorch give the same classifications here.

Tests cannot download published files; these are trained for a few seconds and saved in the formats
of published residual nets for CIFAR-10.
"""

import os

import numpy as np
import pytest

import gpudl
from gpudl import models
from gpudl.interop import load_torch_state
from gpudl.models.nets.resnet import CifarResNet
from tests.models.resnet_twin import cifar_twin
from tests.models.stir import stir

TRAIN, TEST, EPOCHS = 1500, 1000, 2

# Formats of published files: layer names, what is saved, how the net is built and loaded here.
FORMATS = {
    "data parallel, in a checkpoint": {
        "twin": {},
        "prefix": "module.",
        "wrap": lambda state: {"epoch": 3, "state_dict": state, "best_prec1": 41.5},
    },
    "names of torchvision": {
        "twin": {"projection": "downsample", "last": "fc"},
        "build": {"shortcut": "B"},
        "load": {"rename": {"fc": "linear"}},
    },
}


@pytest.fixture(scope="module")
def cifar10():
    """Standardised images and labels for training and testing."""
    if not os.environ.get("GPUDL_DATA"):
        pytest.skip("GPUDL_DATA does not name a folder with the data sets")
    from gpudl.data import load

    parts = []
    for split, count in zip(load("cifar-10"), (TRAIN, TEST), strict=True):
        images, labels = split.batch(np.arange(count))
        parts += [(images.astype(np.float32) / 255 - 0.47) / 0.25, labels]
    return parts


def train_in_torch(torch, net, images, labels):
    torch.manual_seed(0)
    steps = EPOCHS * len(images) // 25
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(25):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()


def save(torch, net, path, prefix="", wrap=lambda state: state):
    torch.save(wrap({prefix + name: value for name, value in net.state_dict().items()}), path)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_every_classification_is_the_same(form, cifar10, tmp_path):
    torch = pytest.importorskip("torch")
    x_train, y_train, x_test, y_test = cifar10
    torch.manual_seed(0)
    peer = cifar_twin(torch, 20, **form["twin"])
    train_in_torch(torch, peer, torch.from_numpy(x_train), torch.from_numpy(y_train))
    with torch.no_grad():
        wanted = peer.eval()(torch.from_numpy(x_test)).numpy()
    save(torch, peer, tmp_path / "net.th", **{k: form[k] for k in ("prefix", "wrap") if k in form})

    net = models.resnet20(**form.get("build", {}))
    net.load_state_dict(load_torch_state(tmp_path / "net.th", **form.get("load", {})))
    with gpudl.no_grad():
        got = np.concatenate([net.eval()(gpudl.tensor(x)).numpy() for x in np.split(x_test, 10)])

    correct = (wanted.argmax(1) == y_test).sum()
    assert correct > 0.25 * TEST  # well above chance, a tenth
    assert (got.argmax(1) == y_test).sum() == correct
    np.testing.assert_array_equal(got.argmax(1), wanted.argmax(1))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_the_error_suggests_shortcuts_and_names(tmp_path):
    torch = pytest.importorskip("torch")
    save(torch, cifar_twin(torch, 8, projection="downsample", last="fc"), tmp_path / "b.pth")
    save(torch, cifar_twin(torch, 8), tmp_path / "a.pth")
    a, b = CifarResNet(8), CifarResNet(8, shortcut="B")
    with pytest.raises(KeyError) as error:
        a.load_state_dict(load_torch_state(tmp_path / "b.pth"))
    for part in (
        "missing keys ['linear.weight', 'linear.bias']", "'layer2.0.downsample.0.weight'",
        'shortcut="B" or "C"', "load_torch_state(path, rename={'fc': 'linear'})",
    ):  # fmt: skip
        assert part in error.value.args[0]
    b.load_state_dict(load_torch_state(tmp_path / "b.pth", rename={"fc": "linear"}))
    with pytest.raises(KeyError, match='these weights are for shortcut="A"'):
        b.load_state_dict(load_torch_state(tmp_path / "a.pth"))


def test_shortcuts_with_another_name(tmp_path):
    torch = pytest.importorskip("torch")
    peer = stir(cifar_twin(torch, 8, projection="shortcut"))
    save(torch, peer, tmp_path / "b.pth", "module.", lambda state: {"net": state, "acc": 91})
    net = CifarResNet(8, shortcut="B")
    with pytest.raises(KeyError, match="'shortcut': 'downsample'"):
        net.load_state_dict(load_torch_state(tmp_path / "b.pth"))
    net.load_state_dict(load_torch_state(tmp_path / "b.pth", rename={"shortcut": "downsample"}))
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    with torch.no_grad(), gpudl.no_grad():
        wanted = peer.eval()(torch.from_numpy(images)).numpy()
        got = net.eval()(gpudl.tensor(images)).numpy()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * max(1, np.abs(wanted).max()))
