"""Autoencoders against PyTorch with the same weights, and against the papers' formulas."""

from __future__ import annotations

import numpy as np
import pytest

import gpudl
from gpudl.models.nets import autoencoder as dense
from gpudl.models.nets import autoencoder_conv as convolutional
from gpudl.models.nets import autoencoder_regularised as regularised
from gpudl.models.nets import winner_take_all
from tests.models.descent import assert_loss_falls

SIZES = (12, 8, 5, 3)


@pytest.fixture
def x():
    return gpudl.tensor(np.random.default_rng(3).random((6, 1, 3, 4)).astype(np.float32))


def close(got, want):
    got = got.detach().numpy() if hasattr(got, "detach") else got
    np.testing.assert_allclose(got, np.asarray(want), rtol=1e-4, atol=1e-4)


def test_parameter_counts_of_the_papers_net():
    with gpudl.device("meta"):
        net = dense.Autoencoder((784, 1000, 500, 250, 30))
        tied = dense.Autoencoder((784, 1000, 500, 250, 30), tied=True)
    weights = 784 * 1000 + 1000 * 500 + 500 * 250 + 250 * 30
    biases = 1000 + 500 + 250 + 30 + 250 + 500 + 1000 + 784
    assert sum(p.numel() for p in net.parameters()) == 2 * weights + biases
    assert sum(p.numel() for p in tied.parameters()) == weights + biases


def twin(torch, net, activation):
    """The same layers in PyTorch, with the same weights."""

    def sequence(part):
        depth = len(part) // 2
        layers = []
        for i in range(depth):
            weight, bias = (getattr(part[2 * i], n).detach().numpy() for n in ("weight", "bias"))
            weight = weight.T if isinstance(part[2 * i], dense.TiedLinear) else weight
            linear = torch.nn.Linear(*reversed(weight.shape))
            with torch.no_grad():
                linear.weight.copy_(torch.tensor(weight))
                linear.bias.copy_(torch.tensor(bias))
            layers += [linear, activation()] if i < depth - 1 else [linear]
        return torch.nn.Sequential(*layers)

    return sequence(net.encoder), sequence(net.decoder)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_outputs_and_losses_equal_pytorchs(x, tied, likelihood):
    torch = pytest.importorskip("torch")
    net = dense.Autoencoder(SIZES, "tanh", likelihood=likelihood, tied=tied)
    encoder, decoder = twin(torch, net, torch.nn.Tanh)
    pixels = torch.tensor(x.numpy()).flatten(1)
    code = encoder(pixels)
    output = decoder(code)
    close(net.encode(x), code.detach())
    if likelihood == "bernoulli":
        bce = torch.nn.functional.binary_cross_entropy_with_logits
        loss, mean = bce(output, pixels, reduction="sum") / 6, output.sigmoid()
    else:
        loss, mean = ((output - pixels) ** 2).sum() / 12, output
    close(net(x), mean.detach().reshape(x.shape))
    close(net.loss(x), loss.detach())
    net.loss(x).backward()
    loss.backward()
    if tied:  # one weight, two uses: the gradients add up
        both = encoder[0].weight.grad + decoder[-1].weight.grad.T
        close(net.encoder[0].weight.grad, both)
    else:
        close(net.encoder[0].weight.grad, encoder[0].weight.grad)


def test_tied_weights_stay_tied(x):
    net = dense.Autoencoder(SIZES, tied=True)
    optimizer = gpudl.optim.SGD(net.parameters(), lr=0.1)
    before = net.encoder[0].weight.detach().numpy().copy()
    net.loss(x).backward()
    optimizer.step()
    assert net.encoder[0].weight is net.decoder[4].weight
    assert not np.array_equal(net.encoder[0].weight.detach().numpy(), before)
    other = dense.Autoencoder(SIZES, tied=True)
    other.load_state_dict(net.state_dict())
    close(other(x), net(x).detach().numpy())


def test_a_stage_trains_only_its_layers_of_the_net(x):
    net = dense.Autoencoder(SIZES)
    before = {name: p.detach().numpy().copy() for name, p in net.named_parameters()}
    stage = net.stage(1)
    codes = net.stage(0).encode(x).detach()
    assert tuple(stage(codes).shape) == (6, 8)
    stage.loss(codes).backward()
    gpudl.optim.SGD(stage.parameters(), lr=1.0).step()
    changed = {
        name for name, p in net.named_parameters() if (p.detach().numpy() != before[name]).any()
    }
    assert changed == {f"{part}.2.{kind}" for part in ("encoder", "decoder")
                       for kind in ("weight", "bias")}  # fmt: skip
    with pytest.raises(IndexError, match="stages 0 to 2"):
        net.stage(3)


def test_the_contraction_is_the_norm_of_the_jacobian(x):
    torch = pytest.importorskip("torch")
    net = regularised.ContractiveAutoencoder(12, 5, weight=0.7)
    weight, bias = (torch.tensor(getattr(net.encoder[0], n).detach().numpy())
                    for n in ("weight", "bias"))  # fmt: skip
    norms = []
    for row in torch.tensor(x.numpy()).flatten(1):
        encode = lambda v: torch.sigmoid(weight @ v + bias)  # noqa: E731
        norms.append((torch.autograd.functional.jacobian(encode, row) ** 2).sum().item())
    close(net.penalty(net.encode(x)), 0.7 * np.mean(norms))
    plain = dense.Coder.loss(net, x).item() - net.penalty(net.encode(x)).item()
    assert plain > 0
    close(net.loss(x), plain + 0.7 * np.mean(norms))


@pytest.mark.parametrize("noise", regularised.NOISES)
def test_noise_has_the_given_amount(noise):
    gpudl.manual_seed(0)
    net = regularised.DenoisingAutoencoder((784, 4), noise=noise, amount=0.3)
    x = gpudl.full((100, 784), 0.5)
    damaged = net.corrupt(x).numpy()
    if noise == "gaussian":
        assert damaged.std() == pytest.approx(0.3, rel=0.02)
        assert damaged.mean() == pytest.approx(0.5, abs=0.01)
    elif noise == "masking":
        assert np.mean(damaged == 0) == pytest.approx(0.3, abs=0.01)
    else:
        assert np.mean(damaged == 0) == pytest.approx(0.15, abs=0.01)
        assert np.mean(damaged == 1) == pytest.approx(0.15, abs=0.01)


def test_sparsity_penalties():
    code = gpudl.tensor([[0.1, 0.9], [0.3, 0.7]])
    rho, mean = 0.05, np.array([0.2, 0.8])
    by_hand = (rho * np.log(rho / mean) + (1 - rho) * np.log((1 - rho) / (1 - mean))).sum()
    close(regularised.kl_sparsity(code, rho), by_hand)
    net = regularised.SparseAutoencoder((4, 2), "kl", weight=3.0, target=rho)
    close(net.penalty(code), 3 * by_hand)
    l1 = regularised.SparseAutoencoder((4, 2), "l1", weight=0.5)
    close(l1.penalty(-code), 0.5 * 2.0 / 2)
    with pytest.raises(ValueError, match="needs code 'sigmoid'"):
        regularised.SparseAutoencoder((4, 2), "kl", code="relu")


def test_stochastic_codes_are_samples_of_the_probabilities(x):
    gpudl.manual_seed(1)
    net = regularised.StochasticAutoencoder((12, 5))
    code = net.encode(gpudl.cat([x] * 2000))
    drawn = code.detach().numpy().reshape(2000, 6, 5)
    assert set(np.unique(drawn.round(6))) == {0.0, 1.0}
    p = net.eval().encode(x)
    np.testing.assert_allclose(drawn.mean(0), p.detach().numpy(), atol=4 * 0.5 / 2000**0.5)
    code.sum().backward()  # straight through: as if the code were its probability
    got = net.encoder[0].bias.grad.numpy().copy()
    net.zero_grad()
    p.sum().backward()
    np.testing.assert_allclose(got, 2000 * net.encoder[0].bias.grad.numpy(), rtol=1e-3)


def test_lifetime_winners_keep_the_largest_of_each_unit():
    code = gpudl.tensor(np.random.default_rng(0).random((20, 7)).astype(np.float32))
    code.requires_grad = True
    kept = winner_take_all.lifetime_winners(code, 0.1)
    want = np.zeros((20, 7), np.float32)
    for unit in range(7):
        rows = np.argsort(code.detach().numpy()[:, unit])[-2:]
        want[rows, unit] = code.detach().numpy()[rows, unit]
    np.testing.assert_array_equal(kept.detach().numpy(), want)
    kept.sum().backward()
    np.testing.assert_array_equal(code.grad.numpy(), want > 0)
    net = winner_take_all.WinnerTakeAllAutoencoder(12, 30, rate=0.05)
    x = gpudl.rand(40, 12)
    assert (net.encode(x).detach().numpy() > 0).sum(0).max() <= 2
    assert (net.eval().encode(x).detach().numpy() > 0).sum(0).max() > 2


def test_convolutional_winners_are_one_per_map_and_few_per_batch():
    gpudl.manual_seed(2)
    net = winner_take_all.ConvWinnerTakeAllAutoencoder(1, 8, rate=0.1)
    x = gpudl.rand(20, 1, 12, 12)
    code = net.encode(x).detach().numpy()
    assert ((code > 0).sum((2, 3)) <= 1).all()
    assert ((code > 0).any((2, 3)).sum(0) <= 2).all()
    evaluated = net.eval().encode(x).detach().numpy()
    maps = net.encoder(x).detach().numpy()
    np.testing.assert_array_equal(evaluated.max((2, 3)), maps.max((2, 3)))
    assert ((evaluated > 0).sum((2, 3)) <= 1).all()


def test_convolutional_nets_equal_pytorchs():
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    x = gpudl.rand(2, 1, 12, 12)
    net = convolutional.ConvAutoencoder(1, (4, 3))
    w = {name: torch.tensor(p.numpy()) for name, p in net.state_dict().items()}
    h, first = functional.max_pool2d(
        functional.conv2d(torch.tensor(x.numpy()), w["conv1.weight"], w["conv1.bias"], padding=1)
        .relu(), 2, return_indices=True)  # fmt: skip
    h, second = functional.max_pool2d(
        functional.conv2d(h, w["conv2.weight"], w["conv2.bias"], padding=1).relu(),
        2, return_indices=True)  # fmt: skip
    code, _ = net.encode(x)
    close(code, h)
    h = functional.max_unpool2d(h, second, 2)
    h = functional.conv_transpose2d(h, w["deconv2.weight"], w["deconv2.bias"], padding=1).relu()
    h = functional.max_unpool2d(h, first, 2)
    y = functional.conv_transpose2d(h, w["deconv1.weight"], w["deconv1.bias"], padding=1)
    close(net(x), y.sigmoid())
    target = torch.tensor(x.numpy())
    close(net.loss(x), functional.binary_cross_entropy_with_logits(y, target, reduction="sum") / 2)


def test_unpooling_restores_positions():
    net = convolutional.ConvAutoencoder()
    x = gpudl.rand(2, 3, 8, 8)
    pooled, switches = net.pool(x)
    back = net.unpool(pooled, switches).numpy()
    largest = x.numpy().reshape(2, 3, 4, 2, 4, 2).max((3, 5)).repeat(2, 2).repeat(2, 3)
    np.testing.assert_array_equal(back, np.where(x.numpy() == largest, x.numpy(), 0))


@pytest.mark.parametrize(
    "make",
    [
        lambda: dense.Autoencoder((144, 10, 4)),
        lambda: regularised.DenoisingAutoencoder((144, 10)),
        lambda: regularised.SparseAutoencoder((144, 10)),
        lambda: regularised.StochasticAutoencoder((144, 10)),
        lambda: regularised.ContractiveAutoencoder(144, 10),
        lambda: winner_take_all.WinnerTakeAllAutoencoder(144, 10),
        lambda: convolutional.ConvAutoencoder(),
        lambda: winner_take_all.ConvWinnerTakeAllAutoencoder(1, 4),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "emulator"])
def test_a_few_steps_lower_the_loss(make, device):
    gpudl.manual_seed(0)
    net = make().to(device)
    x = gpudl.rand(8, 1, 12, 12).to(device)
    assert_loss_falls(net, x, 6 if device == "cpu" else 3)


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="must be one of linear"):
        dense.Autoencoder((4, 2), activation="cube")
    with pytest.raises(ValueError, match=r"'poisson'.*bernoulli"):
        dense.Autoencoder((4, 2), likelihood="poisson")
    with pytest.raises(ValueError, match="at least the widths of input and code"):
        dense.Autoencoder((4,))
    with pytest.raises(ValueError, match="noise is 'snow'"):
        regularised.DenoisingAutoencoder((4, 2), noise="snow")
    with pytest.raises(ValueError, match="'kl' or 'l1'"):
        regularised.SparseAutoencoder((4, 2), sparsity="l0")
