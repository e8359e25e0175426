"""A whole training step of a model: forward, loss, backward, update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpudl import Tensor, models, optim, random
from gpudl.bench.timing import in_turns
from gpudl.device import device as find_device
from gpudl.ops.cross_entropy import cross_entropy
from gpudl.train import blas

BATCHES = (64,)
EMULATOR_BATCHES = (8,)  # a step in the emulator takes a thousand times as long
MODELS = ("lenet5",)
Step = Callable[[], Any]


def bench_steps(device: str, threads: int = 1, peer: bool = True) -> list[dict[str, Any]]:
    """Seconds of a step by model and batch size; beside them PyTorch's on the cpu, with equal
    threads."""
    blas.set_threads(threads)
    where = find_device(device)
    results = []
    for name in MODELS:
        for batch in EMULATOR_BATCHES if device == "emulator" else BATCHES:
            steps = {"gpudl": our_step(name, batch, device)}
            theirs = torch_step(name, batch, threads) if peer and device == "cpu" else None
            if theirs is not None:
                steps["torch"] = theirs
            times = in_turns(steps, where.synchronize)
            row: dict[str, Any] = {"model": name, "batch": batch, "threads": threads}
            row["seconds"] = {peer_name: t.as_dict() for peer_name, t in times.items()}
            row["images_per_second"] = round(batch / times["gpudl"].median, 1)
            if "torch" in times:
                ratio = times["gpudl"].median / times["torch"].median
                row["times_torch"] = round(ratio, 3)
            results.append(row)
    return results


def inputs(name: str, batch: int) -> tuple[Any, Any]:
    """Images and labels of the model's shape, the same for everyone."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, *models.info(name).input_shape), dtype=np.float32)
    return images, rng.integers(0, 10, batch)


def our_step(name: str, batch: int, device: str) -> Step:
    random.manual_seed(0)
    model = models.create(name).to(device)
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    images, labels = (Tensor(array, device=device) for array in inputs(name, batch))

    def step() -> None:
        optimizer.zero_grad()
        cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


def torch_step(name: str, batch: int, threads: int) -> Step | None:
    """The same step in PyTorch, eager; None without it or without the model's twin."""
    try:
        import torch
    except ImportError:
        return None
    from gpudl.bench.twins import TWINS

    if name not in TWINS:
        return None
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = TWINS[name](torch.nn)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    loss = torch.nn.CrossEntropyLoss()
    images, labels = map(torch.from_numpy, inputs(name, batch))

    def step() -> None:
        optimizer.zero_grad()
        loss(model(images), labels).backward()
        optimizer.step()

    return step
