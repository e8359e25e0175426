"""Shared by tests of models: parameter counts, agreement with a peer, one training step."""

import numpy as np

import gpudl
from gpudl import models, nn, optim


def count(name, **options):
    """The number of parameters of a model, built on the meta device."""
    with gpudl.device("meta"):
        net = models.create(name, **options)
    return sum(parameter.numel() for parameter in net.parameters())


def agree(own, peer, shape):
    """Copies the weights of a PyTorch model into ours and compares the logits: they differ by at
    most 1e-4 of the largest."""
    import torch

    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    own.load_state_dict({name: value.numpy() for name, value in peer.state_dict().items()})
    with torch.no_grad(), gpudl.no_grad():
        wanted = peer.eval()(torch.from_numpy(images)).numpy()
        got = own.eval()(gpudl.tensor(images)).numpy()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-4 * max(1, np.abs(wanted).max()))


def agree_in_training(own, peer, shape):
    """As `agree`, for a training step without dropout: compares logits, the gradients of all
    parameters and the running statistics.

    In double precision; in single, rounding may pick another maximum or switch a ReLU, which
    changes gradients a lot.
    """
    import torch

    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal(shape), rng.integers(0, 10, shape[0])
    peer, own = peer.double().train(), own.double().train()
    own.load_state_dict({name: value.numpy() for name, value in peer.state_dict().items()})
    theirs = peer(torch.from_numpy(images))
    ours = own(gpudl.tensor(images, dtype=gpudl.float64))
    torch.nn.functional.cross_entropy(theirs, torch.from_numpy(labels)).backward()
    nn.functional.cross_entropy(ours, gpudl.tensor(labels)).backward()
    weights, buffers = dict(peer.named_parameters()), dict(peer.named_buffers())
    pairs = {"logits": (ours.detach(), theirs.detach())}
    pairs |= {f"d {name}": (p.grad, weights[name].grad) for name, p in own.named_parameters()}
    pairs |= {name: (value, buffers[name]) for name, value in own.named_buffers()}
    for name, (got, wanted) in pairs.items():
        wanted = wanted.numpy()
        bound = 1e-9 * max(1, np.abs(wanted).max())
        np.testing.assert_allclose(got.numpy(), wanted, rtol=0, atol=bound, err_msg=name)


def train_a_step(net, shape, lr=1e-3):
    """Checks that a descent step lowers the batch's loss and every parameter has a gradient."""
    rng = np.random.default_rng(0)
    images = gpudl.tensor(rng.standard_normal(shape).astype(np.float32))
    labels = gpudl.tensor(rng.integers(0, 10, shape[0]))
    optimizer = optim.SGD(net.parameters(), lr=lr)
    losses = []
    for _ in range(2):
        gpudl.manual_seed(0)  # the same dropout both times
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        assert all(np.abs(p.grad.numpy()).sum() > 0 for p in net.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
