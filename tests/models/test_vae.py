"""Variational autoencoders against PyTorch, Monte Carlo and a known likelihood."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
from gpudl import nn
from gpudl.models.nets import vae
from tests.models.descent import assert_loss_falls


def close(got, want, tolerance=1e-4):
    got = got.detach().numpy() if hasattr(got, "detach") else got
    np.testing.assert_allclose(got, np.asarray(want), rtol=tolerance, atol=tolerance)


def small(kind):
    return (
        vae.DenseVAE((1, 12, 12), (20, 10), 3) if kind == "dense" else vae.ConvVAE(1, 12, (4, 6), 3)
    )


def test_parameter_counts():
    with gpudl.device("meta"):
        net = vae.DenseVAE()
    encoder = 784 * 500 + 500 + 500 * 500 + 500 + 500 * 40 + 40
    decoder = 20 * 500 + 500 + 500 * 500 + 500 + 500 * 784 + 784
    assert sum(p.numel() for p in net.parameters()) == encoder + decoder


def test_the_divergence_equals_a_monte_carlo_estimate():
    mean, log_variance = gpudl.tensor([[0.5, -1.0]]), gpudl.tensor([[-1.0, 0.4]])
    rng = np.random.default_rng(0)
    n, mu, sigma = 400_000, np.array([0.5, -1.0]), np.exp(np.array([-0.5, 0.2]))
    noise = rng.standard_normal((n, 2))
    z = mu + sigma * noise
    ratios = ((z * z - noise * noise) / 2 - np.log(sigma)).sum(1)  # log q(z) - log p(z)
    got = vae.kl_to_standard_normal(mean, log_variance).item()
    assert got == pytest.approx(ratios.mean(), abs=5 * ratios.std() / n**0.5)
    zero = gpudl.zeros(2, 4)
    close(vae.kl_to_standard_normal(zero, zero), [0, 0])


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_bound_and_gradients_equal_pytorchs(kind):
    torch = pytest.importorskip("torch")
    f = torch.nn.functional
    net = small(kind)
    x = (gpudl.rand(5, 1, 12, 12) < 0.4).float()
    weights = {
        n: torch.tensor(p.detach().numpy(), requires_grad=True) for n, p in net.named_parameters()
    }

    def encode(pixels):
        if kind == "dense":
            h = f.linear(pixels.flatten(1), weights["encoder.1.weight"], weights["encoder.1.bias"])
            h = f.linear(h.relu(), weights["encoder.3.weight"], weights["encoder.3.bias"]).relu()
        else:
            h = pixels
            for i in (0, 2):
                w, b = weights[f"encoder.{i}.weight"], weights[f"encoder.{i}.bias"]
                h = f.conv2d(h, w, b, stride=2, padding=1).relu()
            h = h.flatten(1)
        return f.linear(h, weights["encoder.5.weight"], weights["encoder.5.bias"]).split(3, 1)

    def decode(z):
        h = f.linear(z, weights["decoder.0.weight"], weights["decoder.0.bias"]).relu()
        if kind == "dense":
            h = f.linear(h, weights["decoder.2.weight"], weights["decoder.2.bias"]).relu()
            return f.linear(h, weights["decoder.4.weight"], weights["decoder.4.bias"])
        h = h.reshape(-1, 6, 3, 3)
        for i in (3, 5):
            w, b = weights[f"decoder.{i}.weight"], weights[f"decoder.{i}.bias"]
            h = f.conv_transpose2d(h if i == 3 else h.relu(), w, b, stride=2, padding=1)
        return h.flatten(1)

    gpudl.manual_seed(4)
    error, divergence = net.bound(x)
    gpudl.manual_seed(4)
    noise = torch.tensor(gpudl.randn(5, 3).numpy())
    pixels = torch.tensor(x.numpy())
    mean, log_variance = encode(pixels)
    logits = decode(mean + (log_variance / 2).exp() * noise)
    want = f.binary_cross_entropy_with_logits(logits, pixels.flatten(1), reduction="none").sum(1)
    prior = torch.distributions.Normal(0.0, 1.0)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    kl = torch.distributions.kl_divergence(posterior, prior).sum(1)
    close(error, want.detach())
    close(divergence, kl.detach())
    (error + divergence).mean().backward()
    (want + kl).mean().backward()
    for name, p in net.named_parameters():
        close(p.grad, weights[name].grad)


@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_shapes(kind):
    net = small(kind)
    x = gpudl.rand(5, 1, 12, 12)
    assert net(x).shape == x.shape
    assert net.eval()(x).shape == x.shape
    assert np.array_equal(net(x).detach().numpy(), net(x).detach().numpy())  # of the mean code
    samples = net.sample(4).numpy()
    assert samples.shape == (4, 1, 12, 12)
    assert 0 < samples.min() <= samples.max() < 1
    with pytest.raises(ValueError, match="multiple of 4"):
        vae.ConvVAE(side=30)


class Fixed(nn.Module):
    """Returns fixed values, or its input if there are none."""

    def __init__(self, values=None):
        super().__init__()
        self.values = values

    def forward(self, input):
        if self.values is None:
            return input
        return gpudl.tensor([self.values] * len(input))


def test_the_likelihood_estimate_is_exact_where_the_bound_is_loose():
    """One code unit, p(x = 1 | z) = sigmoid(z): p(x = 1) is 1/2 for any posterior."""
    gpudl.manual_seed(0)
    net = vae.VAE(Fixed([0.8, -0.5]), Fixed(), latent=1)
    x = gpudl.ones(200, 1)
    estimate = net.log_likelihood(x, samples=400).numpy().mean()
    assert estimate == pytest.approx(np.log(0.5), abs=0.02)
    assert -net.loss(x).item() < estimate - 0.1


@pytest.mark.parametrize("device", ["cpu", "emulator"])
@pytest.mark.parametrize("kind", ["dense", "convolutional"])
def test_a_few_steps_raise_the_bound(kind, device):
    gpudl.manual_seed(0)
    net = small(kind).to(device)
    x = (gpudl.rand(8, 1, 12, 12) < 0.3).float().to(device)
    losses = assert_loss_falls(net, x, 6 if device == "cpu" else 3)
    assert losses[-1] < losses[0]


def test_a_threshold_rounds_grey_pixels():
    grey = gpudl.tensor(np.random.default_rng(0).random((4, 1, 28, 28), np.float32))
    net = vae.dense_vae(hidden=(8,), latent=2, threshold=0.5)
    gpudl.manual_seed(0)
    loss = net.loss(grey)
    net.threshold = None
    gpudl.manual_seed(0)
    assert loss.item() == net.loss((grey > 0.5).to(grey.dtype)).item() != net.loss(grey).item()
