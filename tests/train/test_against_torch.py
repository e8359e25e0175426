"""Training steps of LeNet-5 agree with PyTorch's, and the emulator's with the CPU's."""

import os

import numpy as np
import pytest

import gpudl
from gpudl import data, models, optim
from gpudl.bench.suites.step import lenet5
from gpudl.core import random
from gpudl.devices.find import why_missing
from gpudl.nn.functional import cross_entropy

MISSING = why_missing("emulator")
STEPS, BATCH = 50, 64
LR, MOMENTUM = 0.05, 0.9


def batches(count: int, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Normalized images and labels: of MNIST if GPUDL_DATA is set, otherwise of digits."""
    name = "digits"
    if os.environ.get("GPUDL_DATA"):
        name = "mnist"
    train = data.load(name, download=False).train
    transform = data.transforms.Compose(
        [data.transforms.ToFloat(), data.transforms.Normalize(train.mean, train.std)]
    )
    # In some orders, a max pooling is so close to a tie that rounding decides, in PyTorch too.
    loader = data.Loader(
        train, size, shuffle=True, drop_last=True, transform=transform, seed=0, device=None
    )
    chosen = []
    while len(chosen) < count:
        for batch in loader:
            chosen.append(batch)
            if len(chosen) == count:
                break
    return chosen


def our_losses(batches, device: str, lr: float, weights=None) -> list[float]:
    random.manual_seed(1)
    model = models.lenet5().to(device)
    if weights is not None:
        model.load_state_dict(weights)
    optimizer = optim.SGD(model.parameters(), lr=lr, momentum=MOMENTUM)
    losses = []
    for images, labels in batches:
        optimizer.zero_grad()
        loss = cross_entropy(
            model(gpudl.Tensor(images, device=device)), gpudl.Tensor(labels, device=device)
        )
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_fifty_steps_of_lenet5_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # on a busy machine two threads that wait for each other take a minute
    torch.manual_seed(0)
    twin = lenet5(torch.nn)
    weights = {name: value.numpy().copy() for name, value in twin.state_dict().items()}
    optimizer = torch.optim.SGD(twin.parameters(), lr=LR, momentum=MOMENTUM)
    chosen, theirs = batches(STEPS, BATCH), []
    for images, labels in chosen:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            twin(torch.from_numpy(images)), torch.from_numpy(labels)
        )
        loss.backward()
        optimizer.step()
        theirs.append(loss.item())
    ours = our_losses(chosen, "cpu", LR, weights)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    assert ours[-1] < ours[0] / 2  # training makes progress


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_the_emulator_agrees_with_the_cpu():
    chosen = batches(3, 8)
    np.testing.assert_allclose(
        our_losses(chosen, "emulator", LR), our_losses(chosen, "cpu", LR), rtol=1e-5
    )
