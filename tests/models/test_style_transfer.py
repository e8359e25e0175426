"""Style transfer: its losses against their formulas, and that painting lowers them."""

import numpy as np
import pytest

import gpudl
from gpudl import models, nn, optim
from gpudl.models.style_transfer import StyleTransfer, activations, gram


def draw(*shape):
    return gpudl.tensor(np.random.default_rng(sum(shape)).random(shape).astype(np.float32))


def small_layers():
    return models.create("vgg_small", widths=(4, 8)).eval().features


def test_gram_matrix():
    x = draw(2, 3, 4, 5)
    flat = x.numpy().reshape(2, 3, 20)
    np.testing.assert_allclose(gram(x).numpy(), np.einsum("nci,ndi->ncd", flat, flat) / 20, 1e-5)


def test_losses_are_relative_errors():
    layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    content, style, image = draw(1, 3, 6, 6), draw(1, 3, 8, 7), draw(1, 3, 6, 6) * 0.5
    task = StyleTransfer(layers, content, style, [0], [0, 1], style_weight=10)
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
    layers, photo = (
        models.create("vgg_small", widths=(4, 8)).eval().features,
        draw(1, 3, 16, 16),
    )
    task = StyleTransfer(layers, photo, photo, [5], [2, 5])
    assert [loss.item() for loss in task.losses(photo)] == [0, 0]


def test_painting_lowers_the_loss_within_black_and_white():
    layers = small_layers()
    photo, style = draw(1, 3, 16, 16), draw(1, 3, 18, 18) * 2
    task = StyleTransfer(layers, photo, style, [5], [2, 5])
    black, white = gpudl.zeros(3, 1, 1), gpudl.ones(3, 1, 1)
    painted, history = task.paint(photo, lambda p: optim.Adam(p, lr=0.05), 20, black, white)
    assert sum(history[-1]) < 0.7 * sum(history[0])
    assert len(history) == 20
    assert history[0].content == 0
    assert painted.numpy().min() >= 0
    assert painted.numpy().max() <= 1
    assert photo.numpy().max() < 1  # a copy was painted


def test_layers_that_are_not_there():
    with pytest.raises(ValueError, match=r"there are no layers \[4\]"):
        activations(nn.Sequential(nn.ReLU()), draw(1, 3, 2, 2), [0, 4])
