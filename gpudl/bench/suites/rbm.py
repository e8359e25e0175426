"""Restricted Boltzmann machine: a step of contrastive divergence (Hinton 2002), CD-1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from gpudl import Tensor, no_grad
from gpudl.bench.theirs import replayed
from gpudl.bench.workload import Call, Procedure, Scale
from gpudl.op import Cost

SIZES = ((100, 784, 500), (512, 784, 1024), (512, 4096, 4096))  # batch, visible, hidden
RATE = 0.01


def workloads(scale: Scale) -> Iterator[Procedure]:
    for batch, visible, hidden in SIZES:
        flops = 6 * 2 * batch * visible * hidden  # three half-steps, two statistics of two operands
        moved = 4 * (2 * visible * hidden + batch * (visible + hidden))
        if scale.gpu or flops < 1e10:
            yield Procedure(
                f"CD-1 {visible}-{hidden}, batch {batch}",
                partial(sides, (batch, visible, hidden)),
                Cost(flops, moved),
                items=batch,
                quick=True,
            )


def sides(sizes: tuple[int, int, int], device: str, torch: Any) -> Mapping[str, Call]:
    """The same step written with both libraries' functions."""
    rng = np.random.default_rng(0)
    batch, visible, hidden = sizes
    data = (rng.random((batch, visible)) < 0.3).astype(np.float32)
    weight = (0.01 * rng.standard_normal((visible, hidden))).astype(np.float32)
    arrays = data, weight, np.zeros(visible, np.float32), np.zeros(hidden, np.float32)
    ours = [Tensor(a.copy(), device=device) for a in arrays]

    def step() -> None:
        with no_grad():
            contrast(*ours)

    calls: dict[str, Call] = {"gpudl": step}
    if torch is None:
        return calls
    where = device if device.startswith("cuda") else "cpu"
    theirs = [torch.from_numpy(a.copy()).to(where) for a in arrays]

    def torch_step() -> None:
        with torch.no_grad():
            contrast(*theirs)

    calls["torch"] = torch_step
    if graph := replayed(torch, torch_step, where):
        calls["torch graph"] = graph
    return calls


def contrast(v0: Any, weight: Any, visible_bias: Any, hidden_bias: Any) -> None:
    """One update from a batch: sample up, down, and up again."""
    h0 = (v0 @ weight + hidden_bias).sigmoid()
    v1 = (h0.bernoulli() @ weight.T + visible_bias).sigmoid()
    h1 = (v1 @ weight + hidden_bias).sigmoid()
    rate = RATE / len(v0)
    weight += rate * (v0.T @ h0 - v1.T @ h1)
    visible_bias += rate * (v0 - v1).sum(0)
    hidden_bias += rate * (h0 - h1).sum(0)
