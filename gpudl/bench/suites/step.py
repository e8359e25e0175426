"""Whole training steps: forward, loss, backward, update; including Python and launch overhead."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from gpudl import nn, optim
from gpudl.autograd.tensor import Tensor
from gpudl.bench.theirs import replayed
from gpudl.bench.workload import Call, Procedure, Scale
from gpudl.core.random import manual_seed


class Model(NamedTuple):
    """build: creates the network from gpudl.nn or torch.nn, whose names agree. input: shape of one
    sample. classes: classes of the loss; 0 to learn to reproduce the input."""

    build: Callable[[Any], Any]
    input: tuple[int, ...]
    classes: int
    batches: tuple[int, ...]


def lenet5(nn: Any) -> Any:
    """The layers and names of `gpudl.models.lenet5`."""
    features = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
    )  # fmt: skip
    classifier = nn.Sequential(
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(),
        nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    return nn.Sequential(OrderedDict(features=features, classifier=classifier))


def autoencoder(nn: Any) -> Any:
    sizes = (784, 256, 64, 256, 784)
    layers = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.Sigmoid()]
    return nn.Sequential(*layers)


def conv_block(nn: Any) -> Any:
    """A 3x3 layer of 64 channels, batch norm, ReLU, the mean over pixels, a classifier."""
    return nn.Sequential(
        nn.Conv2d(64, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
        nn.AvgPool2d(32), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


MODELS = {
    "LeNet-5": Model(lenet5, (1, 28, 28), 10, (64, 256)),
    "autoencoder 784-256-64": Model(autoencoder, (784,), 0, (64, 256)),
    "conv 3x3 64 + BN + ReLU": Model(conv_block, (64, 32, 32), 10, (16,)),
}


def workloads(scale: Scale) -> Iterator[Procedure]:
    for name, model in MODELS.items():
        batches = model.batches if scale.kind != "emulator" else (2,)
        for i, batch in enumerate(batches):
            quick = i == 0 and (scale.kind != "emulator" or name == "LeNet-5")
            yield Procedure(
                f"{name}, batch {batch}", partial(sides, model, batch), items=batch, quick=quick
            )


def inputs(model: Model, batch: int) -> tuple[Any, Any]:
    """Samples and targets, the same for both sides."""
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((batch, *model.input), dtype=np.float32)
    return samples, rng.integers(0, model.classes, batch) if model.classes else samples


def sides(model: Model, batch: int, device: str, torch: Any) -> Mapping[str, Call]:
    calls: dict[str, Call] = {"gpudl": our_step(model, batch, device)}
    if torch is not None:
        torch_device = device if device.startswith("cuda") else "cpu"
        calls["torch"] = torch_step(torch, model, batch, torch_device)
        if graph := replayed(torch, torch_step(torch, model, batch, torch_device), torch_device):
            calls["torch graph"] = graph
    return calls


def our_step(model: Model, batch: int, device: str) -> Call:
    manual_seed(0)
    network = model.build(nn).to(device)
    optimizer = optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    samples, targets = (Tensor(a, device=device) for a in inputs(model, batch))
    loss = nn.CrossEntropyLoss() if model.classes else nn.MSELoss()

    def step() -> None:
        optimizer.zero_grad()
        loss(network(samples), targets).backward()
        optimizer.step()

    return step


def torch_step(torch: Any, model: Model, batch: int, device: str) -> Call:
    """The same step in PyTorch, with images in channels-last order on a GPU."""
    torch.manual_seed(0)
    network = model.build(torch.nn).to(device)
    samples, targets = (torch.from_numpy(a).to(device) for a in inputs(model, batch))
    if device != "cpu" and samples.ndim == 4:
        network = network.to(memory_format=torch.channels_last)
        samples = samples.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    loss = torch.nn.CrossEntropyLoss() if model.classes else torch.nn.MSELoss()

    def step() -> None:
        optimizer.zero_grad()
        loss(network(samples), targets).backward()
        optimizer.step()

    return step
