"""Adversarial nets: published sizes, PyTorch's outputs, which net each loss trains."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import gpudl
from gpudl import models, nn
from gpudl.models.nets import cyclegan, gan


def close(got, want, tolerance=1e-4):
    got = got.detach().numpy() if hasattr(got, "detach") else got
    np.testing.assert_allclose(got, np.asarray(want), rtol=tolerance, atol=tolerance)


def count(net):
    return sum(p.numel() for p in net.parameters())


def small(num_classes=0):
    generator = gan.Generator(5, 1, (8, 4), start=3, num_classes=num_classes)
    return gan.GAN(generator, gan.Discriminator(1, (4, 8), start=3, num_classes=num_classes))


def test_sizes_are_the_published_ones():
    with gpudl.device("meta"):
        generator = gan.Generator(100, 3, (512, 256, 128, 64))
        discriminator = gan.Discriminator(3, (64, 128, 256, 512))
        translator, judge = cyclegan.Translator(), cyclegan.PatchDiscriminator()
    assert count(generator) == 3_576_704  # PyTorch's DCGAN example at 64x64
    assert count(discriminator) == 2_765_568
    assert count(translator) == 11_378_179  # the authors' code prints 11.378 M and 2.765 M
    assert count(judge) == 2_764_737


def test_shapes():
    net = small()
    fake = net.generator(gpudl.randn(2, 5))
    assert [tuple(logits.shape) for logits in net(gpudl.rand(2, 1, 12, 12))] == [(2,), (2,)]
    assert tuple(fake.shape) == (2, 1, 12, 12)
    assert tuple(net.discriminator(fake).shape) == (2,)
    assert tuple(net.sample(3).shape) == (3, 1, 12, 12)
    assert net.sample(3).numpy().min() >= 0
    translator, judge = cyclegan.Translator(1, 2, 4, 1), cyclegan.PatchDiscriminator(2, 4, 2)
    y = translator(gpudl.randn(2, 1, 16, 16))
    assert tuple(y.shape) == (2, 2, 16, 16)
    assert tuple(judge(y).shape) == (2, 1, 2, 2)


def test_a_patch_of_the_papers_discriminator_is_70_wide():
    """One score depends on 70 columns of pixels."""
    judge = cyclegan.PatchDiscriminator(1, 1)
    linear = [layer for layer in judge.model if isinstance(layer, nn.Conv2d)]
    for layer in linear:
        layer.weight.array[...] = 1
    x = gpudl.ones(1, 1, 142, 142, requires_grad=True)
    y = x
    for layer in linear:
        y = layer(y)
    y[0, 0, 8, 8].backward()
    touched = np.nonzero(x.grad.numpy()[0, 0].any(0))[0]
    assert touched.max() - touched.min() + 1 == 70


def torch_twin(torch, net):
    """The same Sequential in PyTorch, with the same weights."""
    layers = []
    for layer in net:
        name = type(layer).__name__
        if name == "ResidualBlock":
            inner = torch_twin(torch, layer.conv_block)
            block = torch.nn.Module()
            block.conv_block = inner
            block.forward = lambda x, inner=inner: x + inner(x)
            layers.append(block)
            continue
        make = getattr(torch.nn, name)
        if name in ("Conv2d", "ConvTranspose2d"):
            bias = layer.bias is not None
            options = {"stride": layer.stride, "padding": layer.padding, "bias": bias}
            if name == "ConvTranspose2d":
                options["output_padding"] = layer.output_padding
                inputs, outputs = layer.weight.shape[:2]
            else:
                outputs, inputs = layer.weight.shape[:2]
            layers.append(make(inputs, outputs, layer.weight.shape[2:], **options))
        elif name in ("BatchNorm2d", "InstanceNorm2d"):
            layers.append(make(layer.num_features))
        elif name == "ReflectionPad2d":
            layers.append(make(layer.padding))
        elif name == "LeakyReLU":
            layers.append(make(0.2))
        else:
            layers.append(make())
    twin = torch.nn.Sequential(*layers)
    state = {k: torch.tensor(np.array(v.numpy())) for k, v in net.state_dict().items()}
    twin.load_state_dict(state)
    return twin


def test_dcgan_and_its_losses_equal_pytorchs():
    torch = pytest.importorskip("torch")
    net = small()
    generator, discriminator = (torch_twin(torch, part.main)
                                for part in (net.generator, net.discriminator))  # fmt: skip
    noise, real = gpudl.randn(4, 5), gpudl.rand(4, 1, 12, 12)
    fake = net.generator(noise)
    want = generator(torch.tensor(noise.numpy())[:, :, None, None])
    close(fake, want.detach())
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    on_real = discriminator(torch.tensor(real.numpy())).flatten()
    on_fake = discriminator(want.detach()).flatten()
    judged = bce(on_real, torch.ones(4)) + bce(on_fake, torch.zeros(4))
    logits = net.discriminator(real), net.discriminator(fake.detach())
    close(gan.discriminator_loss(*logits), judged.detach())
    loss = bce(discriminator(want).flatten(), torch.ones(4))
    got = gan.generator_loss(net.discriminator, fake)
    close(got, loss.detach())
    got.backward()
    loss.backward()
    for p, q in zip(net.generator.parameters(), generator.parameters(), strict=True):
        close(p.grad, q.grad)


def test_cyclegan_nets_equal_pytorchs():
    torch = pytest.importorskip("torch")
    x = gpudl.randn(2, 1, 16, 16)
    for net in (cyclegan.Translator(1, 2, 4, 2), cyclegan.PatchDiscriminator(1, 4, 2)):
        for p in net.parameters():
            p.array[...] *= 10  # small weights could hide a difference
        close(net(x), torch_twin(torch, net.model)(torch.tensor(x.numpy())).detach())


def with_gradients(*nets):
    """For each net, whether all of its parameters have a gradient; otherwise none may have one."""
    results = []
    for net in nets:
        have = [p.grad is not None and bool((p.grad.numpy() != 0).any()) for p in net.parameters()]
        assert all(have) or not any(p.grad is not None for p in net.parameters())
        results.append(all(have))
    return tuple(results)


@pytest.mark.parametrize("num_classes", [0, 3])
def test_gradients_reach_one_net_at_a_time(num_classes):
    labels = gpudl.tensor([0, 1, 2, 0]) if num_classes else None
    real = gpudl.rand(4, 1, 12, 12)
    net = small(num_classes)
    fake = net.generator(gpudl.randn(4, 5), labels).detach()
    logits = net.discriminator(real, labels), net.discriminator(fake, labels)
    gan.discriminator_loss(*logits).backward()
    assert with_gradients(net.generator, net.discriminator) == (False, True)
    net = small(num_classes)
    gan.generator_loss(
        net.discriminator, net.generator(gpudl.randn(4, 5), labels), labels
    ).backward()
    assert with_gradients(net.generator, net.discriminator) == (True, False)
    assert all(p.requires_grad for p in net.parameters())


def cycle(identity=0.5):
    translators = (cyclegan.Translator(1, 1, 2, 1, 1, 3) for _ in range(2))
    judges = (cyclegan.PatchDiscriminator(1, 2, 1) for _ in range(2))
    return cyclegan.CycleGAN(*translators, *judges, identity=identity)


def moving(net):
    """The weights: instance norm cancels a bias before it, whose gradient is then about 0."""
    return [p for p in net.parameters() if p.ndim > 1]


def test_cyclegan_gradients_reach_translators_or_judges():
    gpudl.manual_seed(0)
    a, b = gpudl.randn(2, 1, 8, 8), gpudl.randn(2, 1, 8, 8)
    net = cycle()
    net.translator_losses(a, b, *net(a, b)).total().backward()
    assert all(p.grad is not None for t in (net.to_a, net.to_b) for p in moving(t))
    assert all(p.grad is None for j in (net.judge_a, net.judge_b) for p in j.parameters())
    net = cycle()
    net.judge_loss(a, b, *net(a, b)).backward()
    assert all(p.grad is None for t in (net.to_a, net.to_b) for p in t.parameters())
    assert all(p.grad is not None for j in (net.judge_a, net.judge_b) for p in moving(j))


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, input):
        return input * self.factor


def test_cyclegan_losses_by_hand():
    net = cycle()
    net.to_b, net.to_a = Times(2.0), Times(0.25)
    a, b, fake_b, fake_a = (gpudl.full((1, 1, 8, 8), value) for value in (0.4, 0.8, 0.8, 0.2))
    losses = net.translator_losses(a, b, fake_b, fake_a)
    # back(there(0.4)) = 0.2, there(back(0.8)) = 0.4; to_a(0.4) = 0.1, to_b(0.8) = 1.6
    close(losses.cycle, 10 * (0.2 + 0.4))
    close(losses.identity, 5 * (0.3 + 0.8))


def test_a_conditional_net_needs_and_uses_labels():
    gpudl.manual_seed(0)
    net = small(3)
    noise = gpudl.randn(2, 5)
    one, other = (
        net.eval().generator(noise, gpudl.tensor([k, k])).detach().numpy() for k in (0, 2)
    )
    assert not np.allclose(one, other)
    images = gpudl.tensor(one)
    zero, two = (net.discriminator(images, gpudl.tensor([k, k])).detach().numpy() for k in (0, 2))
    assert not np.allclose(zero, two)
    assert tuple(net.sample(5).shape) == (5, 1, 12, 12)
    with pytest.raises(ValueError, match="needs labels"):
        net.generator(noise)


@pytest.mark.parametrize("device", ["cpu", "emulator"])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_steps_of_the_game(num_classes, device):
    gpudl.manual_seed(0)
    net = small(num_classes).to(device)
    game = net.make_stepper(functools.partial(gpudl.optim.Adam, lr=0.01))
    groups = [game.optimizers[name].param_groups[0] for name in ("generator", "discriminator")]
    assert groups[0]["betas"] == groups[1]["betas"] == (0.5, 0.999)
    assert [group["lr"] for group in groups] == [0.01, pytest.approx(0.004)]
    before = [p.detach().cpu().numpy().copy() for p in net.parameters()]
    images, labels = gpudl.rand(4, 1, 12, 12).to(device), gpudl.tensor([0, 1, 2, 1]).to(device)
    losses = [game.step(images, labels) for _ in range(2)]
    assert all(np.isfinite(loss.item()) for step in losses for loss in step.values())
    assert all(step["right"].item() in np.arange(9) / 8 for step in losses)
    for old, p in zip(before, net.parameters(), strict=True):
        assert (old != p.detach().cpu().numpy()).any()


@pytest.mark.parametrize("device", ["cpu", "emulator"])
def test_steps_of_the_cycle(device):
    gpudl.manual_seed(0)
    net = cycle().to(device)
    game = net.make_stepper(functools.partial(gpudl.optim.Adam, lr=0.01))
    before = [p.detach().cpu().numpy().copy() for p in moving(net)]
    a, b = (gpudl.randn(2, 1, 8, 8).to(device) for _ in range(2))
    losses = [game.step(a, b) for _ in range(2)]
    assert all(np.isfinite(loss.item()) for step in losses for loss in step.values())
    for old, p in zip(before, moving(net), strict=True):
        assert (old != p.detach().cpu().numpy()).any()


def test_the_pool_returns_old_images_half_of_the_time():
    pool = cyclegan.ImagePool(size=10, seed=1)
    first = pool(gpudl.arange(10).reshape(10, 1, 1, 1))
    np.testing.assert_array_equal(first.numpy().ravel(), np.arange(10))
    out = pool(gpudl.arange(100, 1100).reshape(-1, 1, 1, 1)).numpy().ravel()
    new = out == np.arange(100, 1100)
    assert 0.45 < new.mean() < 0.55
    assert (out[~new] < np.arange(100, 1100)[~new]).all()
    assert len(set(out[~new])) == len(out[~new])  # a returned image is not returned again


def test_perfect_translators_have_no_loss():
    net = models.create("cyclegan_negatives")
    images, labels = gpudl.rand(2, 1, 8, 8), gpudl.tensor([0, 0])
    assert net.judge(images, labels)["loss"].item() > 0.1
    net.net.to_b, net.net.to_a = Times(-1.0), Times(-1.0)
    close([loss.item() for loss in net.judge(images, labels).values()], [0, 0])


def test_half_of_a_batch_is_inverted():
    seen = []

    class Recorder:
        optimizers = {}

        def step(self, a, b):
            seen.append((a, b))

    images = gpudl.rand(5, 1, 2, 2)
    cyclegan.HalfNegative(Recorder()).step(images, gpudl.zeros(5))
    close(seen[0][0], images.numpy()[:2] * 2 - 1)
    close(seen[0][1], 1 - images.numpy()[3:] * 2)
    np.testing.assert_array_equal(cyclegan.ImagePool(0)(images).numpy(), images.numpy())


@pytest.mark.parametrize("name", ["dcgan", "conditional_dcgan", "cyclegan_negatives"])
def test_named_models_take_a_step(name):
    gpudl.manual_seed(0)
    net = models.create(name)
    game = net.make_stepper(functools.partial(gpudl.optim.Adam, lr=1e-3))
    losses = game.step(gpudl.rand(4, 1, 28, 28), gpudl.tensor([1, 2, 3, 4]))
    assert np.isfinite([loss.item() for loss in losses.values()]).all()


def test_a_net_too_narrow_to_halve_is_refused():
    with pytest.raises(ValueError, match="width is 1; it must be 2 or more"):
        gpudl.models.create("dcgan", width=1)
