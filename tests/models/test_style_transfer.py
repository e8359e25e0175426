"""Style transfer: its losses against their formulas; painting lowers them."""

import numpy as np
import pytest

import gpudl
from gpudl import models, nn, optim
from gpudl.models.nets.style_transfer import StyleTransfer, activations, gram


def draw(*shape):
    return gpudl.tensor(np.random.default_rng(sum(shape)).random(shape).astype(np.float32))


def small_net():
    return models.create("vgg_small", widths=(4, 8)).eval()


def test_gram_matrix():
    x = draw(2, 3, 4, 5)
    flat = x.numpy().reshape(2, 3, 20)
    np.testing.assert_allclose(gram(x).numpy(), np.einsum("nci,ndi->ncd", flat, flat) / 20, 1e-5)


def test_losses_are_relative_errors():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    content, style, image = draw(1, 3, 6, 6), draw(1, 3, 8, 7), draw(1, 3, 6, 6) * 0.5
    task = StyleTransfer(layers, content, style, ["0"], ["0", "1"], style_weight=10)
    got = [loss.item() for loss in task.losses(image)]

    def error(a, b):
        return ((a - b) ** 2).mean() / (b**2).mean()

    def products(y):
        flat = y.reshape(4, -1)
        return flat @ flat.T / flat.shape[1]

    with gpudl.no_grad():
        a, b, c = ([layers[:1](x).numpy(), layers(x).numpy()] for x in (image, content, style))
    grams = [error(products(x), products(y)) for x, y in zip(a, c, strict=True)]
    np.testing.assert_allclose(got, [error(a[0], b[0]), 10 * np.mean(grams)], rtol=1e-4)


def test_the_photo_itself_has_no_loss():
    photo = draw(1, 3, 16, 16)
    task = StyleTransfer(small_net(), photo, photo, ["features.5"], ["features.2", "features.5"])
    assert [loss.item() for loss in task.losses(photo)] == [0, 0]


@pytest.mark.parametrize("device", ["cpu", "emulator"])
@pytest.mark.parametrize(
    ("name", "options", "layers"),
    [
        ("vgg_small", {"widths": (4, 8)}, ("features.2", "features.5")),
        ("alexnet_small", {}, ("features.0", "features.3")),
        ("lenet5", {"in_channels": 3}, ("features.0", "features.3")),
        ("resnet20", {}, ("bn1", "layer1.0", "layer1.1.conv2")),
        ("googlenet_small", {}, ("features.0", "features.2.branch2")),
    ],
)
def test_any_net_paints_within_black_and_white(name, options, layers, device):
    """With an image of another size than the net's."""
    gpudl.manual_seed(0)
    net = models.create(name, **options).eval().requires_grad_(False).to(device)
    photo, style = draw(1, 3, 20, 20).to(device), (draw(1, 3, 22, 22) * 2).to(device)
    task = StyleTransfer(net, photo, style, layers[-1:], layers)
    black, white = (gpudl.full((3, 1, 1), value, device=device) for value in (0.0, 1.0))
    steps = 20 if device == "cpu" else 2
    painted, history = task.paint(photo, lambda p: optim.Adam(p, lr=0.05), steps, black, white)
    assert len(history) == steps
    assert sum(history[-1]) < (0.75 if device == "cpu" else 1) * sum(history[0])
    assert history[0].content == 0
    assert painted.cpu().numpy().min() >= 0
    assert painted.cpu().numpy().max() <= 1
    assert photo.cpu().numpy().max() < 1  # a copy was painted


def test_later_layers_do_not_run_and_hooks_are_removed():
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Linear(7, 7))
    x = draw(1, 3, 6, 6)
    outputs = activations(net, x, ["1", "0", "1"])
    np.testing.assert_array_equal(outputs["1"].detach().numpy(), net[:2](x).detach().numpy())
    assert not any(layer._hooks for layer in net.modules())


def test_unknown_layers_and_layers_without_maps_are_refused():
    net = nn.Sequential({"conv": nn.Conv2d(3, 4, 1), "flat": nn.Flatten()})
    x = draw(1, 3, 2, 2)
    with pytest.raises(ValueError, match=r"no layer 'pool'; it has conv, flat$"):
        activations(net, x, ["conv", "pool"])
    with pytest.raises(ValueError, match="output of layer 'flat' must be"):
        activations(net, x, ["flat"])
    net.forward = net.conv.forward
    with pytest.raises(ValueError, match="did not use conv"):
        activations(net, x, ["conv"])
    assert not net.conv._hooks


def test_painting_reads_the_device_once(monkeypatch):
    photo = draw(1, 3, 16, 16)
    task = StyleTransfer(small_net(), photo, photo * 0.5, ["features.5"], ["features.2"])
    reads = []
    item = gpudl.Tensor.item
    monkeypatch.setattr(gpudl.Tensor, "item", lambda self: reads.append(1) or item(self))
    _, history = task.paint(photo, lambda p: optim.Adam(p, lr=0.05), 3)
    assert len(history) == 3
    assert not reads
