"""ResNet: published parameter counts, names and outputs of its peers, shortcuts."""

import numpy as np
import pytest

import gpudl
from gpudl import models
from gpudl.interop import load_torch_state
from gpudl.models.nets.resnet import BasicBlock, Bottleneck, CifarResNet, PaddedShortcut, ResNet
from tests.models.agreement import agree, count, train_a_step
from tests.models.resnet_twin import cifar_twin
from tests.models.stir import stir

PARAMETERS = {
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20": 269_722,
}
# Table 6 of the paper, in millions.
CIFAR = {"resnet20": 0.27, "resnet32": 0.46, "resnet44": 0.66, "resnet56": 0.85, "resnet110": 1.7}


@pytest.mark.parametrize("name", PARAMETERS)
def test_number_of_parameters(name):
    assert count(name) == PARAMETERS[name]


@pytest.mark.parametrize("name", CIFAR)
def test_number_of_parameters_for_cifar(name):
    assert count(name) / 1e6 == pytest.approx(CIFAR[name], abs=0.05 if CIFAR[name] > 1 else 0.005)


@pytest.mark.parametrize("name", list(PARAMETERS)[:5])
def test_names_of_torchvision(torchvision, name):
    import torch

    with torch.device("meta"), gpudl.device("meta"):
        own, peer = models.create(name), getattr(torchvision.models, name)()
    shapes = {name: tuple(value.shape) for name, value in peer.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in own.state_dict().items()} == shapes


@pytest.mark.parametrize("block", ["BasicBlock", "Bottleneck"])
def test_logits_of_torchvision_with_one_block_per_stage(torchvision, block):
    resnet = torchvision.models.resnet
    peer = stir(resnet.ResNet(getattr(resnet, block), [1, 1, 1, 1], num_classes=9))
    own = ResNet({"BasicBlock": BasicBlock, "Bottleneck": Bottleneck}[block], (1, 1, 1, 1), 9)
    agree(own, peer, (2, 3, 49, 48))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet152"])
def test_logits_of_torchvision(torchvision, name, tmp_path):
    """The weights go through a file, as published ones do."""
    import torch

    peer = stir(getattr(torchvision.models, name)())
    torch.save(peer.state_dict(), tmp_path / "weights.pth")
    own = models.create(name)
    own.load_state_dict(load_torch_state(tmp_path / "weights.pth"))
    agree(own, peer, (1, 3, 96, 96))


def test_weights_of_common_cifar_implementations(tmp_path):
    """Their checkpoints hold {"state_dict": …}, with "module." before each name."""
    torch = pytest.importorskip("torch")
    own = models.create("resnet20")
    names = list(own.state_dict())
    assert names[0] == "conv1.weight"
    assert names[-2:] == ["linear.weight", "linear.bias"]
    for part in ("bn1.running_mean", "layer1.0.conv1.weight", "layer3.2.bn2.num_batches_tracked"):
        assert part in names
    assert not any("shortcut" in name or "downsample" in name for name in names)
    weights = {f"module.{n}": torch.from_numpy(t.numpy()) for n, t in own.state_dict().items()}
    torch.save({"state_dict": weights, "best_prec1": 91.7}, tmp_path / "resnet20.th")
    other = models.create("resnet20")
    other.load_state_dict(load_torch_state(tmp_path / "resnet20.th"))
    for name, tensor in own.state_dict().items():
        np.testing.assert_array_equal(other.state_dict()[name].numpy(), tensor.numpy())


def test_logits_for_cifar():
    torch = pytest.importorskip("torch")
    agree(CifarResNet(8, 7), stir(cifar_twin(torch, 8, 7)), (2, 3, 32, 32))
    projecting = stir(cifar_twin(torch, 20, 7, projection="downsample"))
    agree(CifarResNet(20, 7, shortcut="B"), projecting, (2, 3, 32, 32))
    plain = stir(cifar_twin(torch, 20, 7, plain=True))
    agree(CifarResNet(20, 7, plain=True), plain, (2, 3, 32, 32))


def test_shortcuts():
    """A has no parameters, B projects three times, C in each of eight blocks (ResNet-18)."""
    projections = [(64, 128), (128, 256), (256, 512)]
    extra_b = sum(before * width + 2 * width for before, width in projections)
    extra_c = extra_b + sum(width**2 + 2 * width for width in (64, 64, 128, 256, 512))
    plain = PARAMETERS["resnet18"] - extra_b
    counts = {option: count("resnet18", shortcut=option) for option in "ABC"}
    assert counts == {"A": plain, "B": plain + extra_b, "C": plain + extra_c}
    with pytest.raises(ValueError, match="shortcut is 'D'; it must be one of"):
        ResNet(BasicBlock, (1, 1, 1, 1), shortcut="D")
    with pytest.raises(ValueError, match=r"depth is 21; it must be 6n \+ 2"):
        CifarResNet(21)


def test_padded_shortcut_sees_every_second_pixel():
    x = np.arange(2 * 2 * 3 * 4, dtype=np.float32).reshape(2, 2, 3, 4)
    y = PaddedShortcut(2, 6, 2)(gpudl.tensor(x)).numpy()
    assert y.shape == (2, 6, 2, 2)
    np.testing.assert_array_equal(y[:, 2:4], x[:, :, ::2, ::2])
    assert not y[:, [0, 1, 4, 5]].any()


def test_a_block_can_start_as_its_shortcut():
    net = ResNet(BasicBlock, (1, 1, 1, 1), 4, zero_init_residual=True)
    x = gpudl.tensor(np.random.default_rng(0).random((2, 64, 5, 5)).astype(np.float32))
    np.testing.assert_allclose(net.layer1(x).detach().numpy(), x.numpy(), rtol=1e-6)


@pytest.mark.parametrize("shortcut", ["A", "B", "C"])
def test_trains(shortcut):
    train_a_step(ResNet(BasicBlock, (1, 1, 1, 1), 10, shortcut=shortcut), (4, 3, 32, 32))


def test_trains_for_cifar():
    train_a_step(CifarResNet(8), (8, 3, 32, 32))
