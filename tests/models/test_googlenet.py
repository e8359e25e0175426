"""GoogLeNet: published parameter counts, torchvision's outputs, the paper's net."""

import numpy as np
import pytest

import gpudl
from gpudl import models, nn
from gpudl.models.nets.googlenet import WIDTHS, GoogLeNet, Inception
from tests.models.agreement import agree, agree_in_training, count, train_a_step
from tests.models.stir import stir

PARAMETERS = {
    ("googlenet", True): 13_004_888,
    ("googlenet", False): 6_624_904,
    ("googlenet_paper", True): 13_378_280,
    ("googlenet_paper", False): 6_998_552,
}


@pytest.mark.parametrize(("name", "heads"), PARAMETERS)
def test_number_of_parameters(name, heads):
    assert count(name, aux_logits=heads) == PARAMETERS[name, heads]


def test_widths_of_table_1():
    totals = [widths.total for widths in WIDTHS.values()]
    assert totals == [256, 480, 512, 512, 512, 528, 832, 832, 1024]


@pytest.mark.parametrize("heads", [True, False])
def test_names_of_torchvision(torchvision, heads):
    import torch

    with torch.device("meta"), gpudl.device("meta"):
        own = models.create("googlenet", aux_logits=heads)
        peer = torchvision.models.GoogLeNet(aux_logits=heads, init_weights=False)
    shapes = {name: tuple(value.shape) for name, value in peer.state_dict().items()}
    assert {name: tuple(value.shape) for name, value in own.state_dict().items()} == shapes


def test_logits_of_torchvision(torchvision):
    peer = stir(torchvision.models.GoogLeNet(9, init_weights=False))
    agree(GoogLeNet(9), peer, (1, 3, 65, 64))


@pytest.mark.slow
def test_training_also_gives_the_logits_of_the_heads(torchvision):
    import torch

    options = {"num_classes": 9, "dropout": 0.0, "dropout_aux": 0.0}
    peer = stir(torchvision.models.GoogLeNet(init_weights=False, **options)).train()
    own = models.create("googlenet", **options)
    own.load_state_dict({name: value.numpy() for name, value in peer.state_dict().items()})
    images = np.random.default_rng(0).standard_normal((4, 3, 64, 64)).astype(np.float32)
    wanted, got = peer(torch.from_numpy(images)), own(gpudl.tensor(images))
    assert got._fields == wanted._fields
    for ours, theirs in zip(got, wanted, strict=True):
        theirs = theirs.detach().numpy()
        np.testing.assert_allclose(
            ours.detach().numpy(), theirs, rtol=0, atol=1e-4 * np.abs(theirs).max()
        )


def paper_in_torch(torch, state, images):
    """Table 1 with PyTorch's functions: logits of the net and of the heads at 4d and 4a."""
    F = torch.nn.functional
    state = {name: torch.from_numpy(value.numpy()) for name, value in state.items()}

    def conv(name, x, stride=1):
        weight = state[f"{name}.conv.weight"]
        padding = weight.shape[-1] // 2
        return F.relu(F.conv2d(x, weight, state[f"{name}.conv.bias"], stride, padding))

    def inception(name, x):
        pooled = F.max_pool2d(x, 3, 1, padding=1)
        return torch.cat([
            conv(f"{name}.branch1", x),
            conv(f"{name}.branch2.1", conv(f"{name}.branch2.0", x)),
            conv(f"{name}.branch3.1", conv(f"{name}.branch3.0", x)),
            conv(f"{name}.branch4.1", pooled),
        ], 1)  # fmt: skip

    def linear(name, x):
        return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def head(name, x):
        x = conv(f"{name}.conv", F.avg_pool2d(x, 5, 3)).flatten(1)
        return linear(f"{name}.fc2", F.relu(linear(f"{name}.fc1", x)))

    def pool(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def norm(x):
        return F.local_response_norm(x, 5)

    x = conv("conv2", norm(pool(conv("conv1", images, 2))))
    x = pool(norm(conv("conv3", x)))
    outputs = {}
    for name in WIDTHS:
        x = pool(x) if name in ("4a", "5a") else x
        x = outputs[name] = inception(f"inception{name}", x)
    heads = head("aux2", outputs["4d"]), head("aux1", outputs["4a"])
    return linear("fc", x.mean((2, 3))), *heads


@pytest.mark.slow
def test_the_published_net_with_pytorchs_functions():
    torch = pytest.importorskip("torch")
    own = models.create("googlenet_paper", num_classes=9, dropout=0.0, dropout_aux=0.0)
    images = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    with torch.no_grad(), gpudl.no_grad():
        wanted = paper_in_torch(torch, own.state_dict(), torch.from_numpy(images))
        got = own(gpudl.tensor(images))
        logits = own.eval()(gpudl.tensor(images))
    for ours, theirs in zip((*got, logits), (*wanted, wanted[0]), strict=True):
        bound = 1e-4 * max(1, theirs.abs().max().item())
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=bound)


def test_filters_of_the_third_branch():
    """5x5 in the paper, 3x3 in torchvision."""
    for batch_norm, size in ((False, (5, 5)), (True, (3, 3))):
        module = Inception(8, WIDTHS["3a"], batch_norm)
        assert module.branch3[1].conv.kernel_size == size
        assert module(gpudl.tensor(np.zeros((1, 8, 6, 7), np.float32))).shape == (1, 256, 6, 7)


def test_the_heads_train_the_layers_below_them():
    net = models.create("googlenet", num_classes=3, dropout_aux=0.0)
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    outputs = net(gpudl.tensor(images))
    labels = gpudl.tensor(np.array([0, 2]))
    nn.functional.cross_entropy(outputs.aux_logits1, labels).backward()
    assert net.aux1.fc2.weight.grad is not None
    assert net.inception4a.branch1.conv.weight.grad is not None
    assert net.inception4b.branch1.conv.weight.grad is None


def small_twin(torch):
    """Modules 3a, 3b, 4a, 4e and 5b with a quarter of the filters, in PyTorch."""
    t = torch.nn

    class Conv(t.Module):
        def __init__(self, before, width, size=1):
            super().__init__()
            self.conv = t.Conv2d(before, width, size, padding=size // 2, bias=False)
            self.bn = t.BatchNorm2d(width, eps=0.001)

        def forward(self, x):
            return torch.relu(self.bn(self.conv(x)))

    class Module(t.Module):
        def __init__(self, before, name):
            super().__init__()
            ones, reduce3, threes, reduce5, fives, pool = (n // 4 for n in WIDTHS[name])
            self.branch1 = Conv(before, ones)
            self.branch2 = t.Sequential(Conv(before, reduce3), Conv(reduce3, threes, 3))
            self.branch3 = t.Sequential(Conv(before, reduce5), Conv(reduce5, fives, 3))
            self.branch4 = t.Sequential(t.MaxPool2d(3, 1, 1), Conv(before, pool))

        def forward(self, x):
            return torch.cat([branch(x) for branch in self.children()], 1)

    peer = t.Sequential()
    peer.features = t.Sequential(
        *(Conv(3, 32, 3), t.MaxPool2d(2), Module(32, "3a"), Module(64, "3b"), t.MaxPool2d(2)),
        *(Module(120, "4a"), Module(128, "4e"), t.MaxPool2d(2), Module(208, "5b")),
        *(t.AdaptiveAvgPool2d(1), t.Flatten()),
    )
    peer.fc = t.Linear(256, 10)
    return peer


def test_logits_and_gradients_of_the_small_net_in_pytorch():
    torch = pytest.importorskip("torch")
    own, peer = models.create("googlenet_small"), stir(small_twin(torch))
    own.dropout.p = 0.0
    agree(own, peer, (2, 3, 32, 32))
    agree_in_training(own, peer, (2, 3, 16, 16))


def test_small_net_trains():
    train_a_step(models.create("googlenet_small"), (8, 3, 32, 32))
