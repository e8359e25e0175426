"""Recurrent layers over whole sequences: LSTM, GRU and RNN, forward and training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpudl import nn
from gpudl.autograd.tape import no_grad
from gpudl.autograd.tensor import Tensor
from gpudl.bench.accuracy import Expected, on_host
from gpudl.bench.theirs import replayed
from gpudl.bench.workload import Call, Procedure, Scale
from gpudl.core.op import Cost
from gpudl.core.random import manual_seed

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
CHECKED_STEPS = 32  # steps of a sequence whose error against float64 is measured


class Layer(NamedTuple):
    """A recurrent layer and its sequence, (steps, batch, inputs). kind: the class in nn."""

    kind: str
    steps: int
    batch: int
    inputs: int
    hidden: int
    layers: int = 1
    bidirectional: bool = False

    @property
    def name(self) -> str:
        more = f", {self.layers} layers" if self.layers > 1 else ""
        more += ", both ways" if self.bidirectional else ""
        return f"{self.kind} {self.steps}x{self.batch}x{self.inputs} -> {self.hidden}{more}"

    @property
    def cost(self) -> Cost:
        """Products of one forward pass; weights, inputs and outputs move once."""
        ways, width = 1 + self.bidirectional, self.inputs
        flops = weights = 0
        for _ in range(self.layers):
            matrices = ways * GATES[self.kind] * self.hidden * (width + self.hidden)
            weights += matrices
            flops += 2 * self.steps * self.batch * matrices
            width = ways * self.hidden
        moved = weights + self.steps * self.batch * (self.inputs + width)
        return Cost(flops, 4 * moved)

    def build(self, nn: Any) -> Any:
        layer = getattr(nn, self.kind)
        return layer(self.inputs, self.hidden, self.layers, bidirectional=self.bidirectional)

    def sequence(self, steps: int) -> Any:
        shape = (steps, self.batch, self.inputs)
        return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


LAYERS = (
    Layer("LSTM", 1024, 16, 768, 768),
    Layer("LSTM", 32, 32, 64, 128),
    Layer("GRU", 64, 32, 128, 128),
    Layer("RNN", 64, 32, 128, 128),
    Layer("LSTM", 128, 64, 256, 512, 2, True),
    Layer("GRU", 1024, 16, 512, 512),
)
QUICK = {"cpu": (1, 2, 3), "cuda": (0, 1, 2)}


def workloads(scale: Scale) -> Iterator[Procedure]:
    for i, layer in enumerate(LAYERS):
        if scale.kind == "emulator":
            layer = layer._replace(steps=3, batch=2, inputs=8, hidden=8)
        quick = i in QUICK.get(scale.kind, (1, 2, 3))
        forward, cost = partial(sides, layer, False), layer.cost
        errors = partial(errors_of, layer)
        if scale.kind == "emulator" and not quick:
            continue
        yield Procedure(f"{layer.name}, forward", forward, cost, quick=quick, errors=errors)
        both = Cost(3 * cost.flops, 3 * cost.bytes)
        yield Procedure(f"{layer.name}, training", partial(sides, layer, True), both, quick=quick)


def sides(layer: Layer, training: bool, device: str, torch: Any) -> Mapping[str, Call]:
    manual_seed(0)
    ours, x = layer.build(nn).to(device), Tensor(layer.sequence(layer.steps), device=device)
    calls: dict[str, Call] = {"gpudl": _call(ours, x, training, no_grad)}
    if torch is not None:
        torch_device = device if device.startswith("cuda") else "cpu"
        module = layer.build(torch.nn).to(torch_device)
        sequence = torch.from_numpy(layer.sequence(layer.steps)).to(torch_device)
        calls["torch"] = _call(module, sequence, training, torch.no_grad)
        if graph := replayed(torch, calls["torch"], torch_device):
            calls["torch graph"] = graph
    return calls


def _call(module: Any, x: Any, training: bool, no_grad: Any) -> Call:
    def forward() -> Any:
        with no_grad():
            return module(x)[0]

    def both() -> None:
        for parameter in module.parameters():
            parameter.grad = None
        module(x)[0].mean().backward()

    return both if training else forward


def errors_of(layer: Layer, device: str, torch: Any) -> dict[str, float]:
    """Errors of the first steps, with equal weights, against PyTorch in float64 on the CPU."""
    if torch is None:
        return {}
    x = layer.sequence(min(layer.steps, CHECKED_STEPS))
    theirs = layer.build(torch.nn)
    ours = layer.build(nn)
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})
    with torch.no_grad(), no_grad():
        exact = layer.build(torch.nn).double()
        exact.load_state_dict(theirs.state_dict())
        expected = Expected((...,), on_host(exact(torch.from_numpy(x).double())[0]))
        torch_device = device if device.startswith("cuda") else "cpu"
        peer = theirs.to(torch_device)(torch.from_numpy(x).to(torch_device))[0]
        mine = ours.to(device)(Tensor(x, device=device))[0]
    return {"gpudl": expected.error(mine.numpy()), "torch": expected.error(peer)}
