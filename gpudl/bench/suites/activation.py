"""Activations and elementwise losses, over 64 MiB on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

from gpudl.bench.workload import Draw, Scale, Workload
from gpudl.core.op import OPS
from gpudl.ops.activation.base import Activation
from gpudl.ops.loss.pairs_base import ElementLoss

QUICK = ("relu", "sigmoid", "gelu", "mse_loss")  # one of each cost


def workloads(scale: Scale) -> Iterator[Workload]:
    shape = (64, 256, 32, 32) if scale.gpu else (8, 64, 32, 32)
    between_0_and_1 = Draw(shape, "uniform")  # what every loss takes
    for name, op in OPS.items():
        if issubclass(op, Activation):
            yield Workload(name, op.of(), (shape,), independent=0, quick=name in QUICK)
        elif issubclass(op, ElementLoss):
            inputs = (between_0_and_1, between_0_and_1)
            yield Workload(name, op.of(), inputs, quick=name in QUICK)
