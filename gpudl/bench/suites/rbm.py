"""Restricted Boltzmann machines: Gibbs half-steps, statistics, whole steps of CD-1."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from gpudl import nn, optim
from gpudl.autograd.tensor import Tensor
from gpudl.bench.theirs import replayed
from gpudl.bench.workload import Call, Draw, Procedure, Scale, Workload, given
from gpudl.core.op import Cost
from gpudl.core.random import manual_seed
from gpudl.ops.random.boltzmann import ContrastiveDivergenceOp, GibbsHalfStepOp

SIZES = ((100, 784, 500), (512, 784, 1024), (512, 4096, 4096))  # batch, visible, hidden


def workloads(scale: Scale) -> Iterator[Workload | Procedure]:
    counter = given(np.array([0, 0, 0], np.int64))  # seed, stream, offset
    for batch, visible, hidden in SIZES:
        flops = 6 * 2 * batch * visible * hidden  # three half-steps, two products for statistics
        if not scale.gpu and flops > 1e10:
            continue
        text = f"{visible}-{hidden}, batch {batch}"
        v, h = Draw((batch, visible), "uniform"), Draw((batch, hidden), "uniform")
        weight = Draw((hidden, visible), "small")
        yield Workload(
            f"half-step up {text}",
            GibbsHalfStepOp.of(False, False),
            (v, weight, (hidden,), counter),
            ("forward",),
            peer=_half_step,
            quick=True,
        )
        yield Workload(
            f"statistics {text}",
            ContrastiveDivergenceOp.of(),
            (v, h, v, h),
            ("forward",),
            peer=_statistics,
            quick=True,
        )
        moved = 4 * (2 * visible * hidden + batch * (visible + hidden))
        yield Procedure(
            f"CD-1 step {text}",
            partial(sides, (batch, visible, hidden)),
            Cost(flops, moved),
            items=batch,
            quick=True,
        )


def _half_step(torch: Any, x: Any, weight: Any, bias: Any, _: Any) -> Call:
    def call() -> Any:
        with torch.no_grad():
            mean = torch.nn.functional.linear(x, weight, bias).sigmoid()
            return mean, torch.bernoulli(mean)

    return call


def _statistics(torch: Any, v0: Any, h0: Any, vk: Any, hk: Any) -> Call:
    def call() -> Any:
        with torch.no_grad():
            n = len(v0)
            dweight = torch.addmm(hk.T @ vk, h0.T, v0, beta=1 / n, alpha=-1 / n)
            return dweight, (vk - v0).mean(0), (hk - h0).mean(0)

    return call


def sides(sizes: tuple[int, int, int], device: str, torch: Any) -> Mapping[str, Call]:
    """A whole step: sample up, down and up again, compute statistics, update."""
    batch, visible, hidden = sizes
    data = (np.random.default_rng(0).random((batch, visible)) < 0.3).astype(np.float32)
    manual_seed(0)
    rbm = nn.RBM(visible, hidden, device=device)
    optimizer, images = optim.SGD(rbm.parameters(), lr=0.01), Tensor(data, device=device)

    def step() -> None:
        optimizer.zero_grad()
        rbm.contrastive_divergence(images)
        optimizer.step()

    calls: dict[str, Call] = {"gpudl": step}
    if torch is not None:
        torch_device = device if device.startswith("cuda") else "cpu"
        calls["torch"] = torch_step(torch, torch.from_numpy(data).to(torch_device), hidden)
        if graph := replayed(torch, calls["torch"], torch_device):
            calls["torch graph"] = graph
    return calls


def torch_step(torch: Any, v0: Any, hidden: int) -> Callable[[], None]:
    batch, visible = v0.shape
    weight = 0.01 * torch.randn(hidden, visible, device=v0.device)
    visible_bias = torch.zeros(visible, device=v0.device)
    hidden_bias = torch.zeros(hidden, device=v0.device)
    linear, rate = torch.nn.functional.linear, 0.01 / batch

    def step() -> None:
        with torch.no_grad():
            h0 = linear(v0, weight, hidden_bias).sigmoid()
            v1 = linear(torch.bernoulli(h0), weight.T, visible_bias).sigmoid().bernoulli()
            h1 = linear(v1, weight, hidden_bias).sigmoid()
            weight.addmm_(h0.T, v0, alpha=rate).addmm_(h1.T, v1, alpha=-rate)
            visible_bias.add_((v0 - v1).sum(0), alpha=rate)
            hidden_bias.add_((h0 - h1).sum(0), alpha=rate)

    return step
