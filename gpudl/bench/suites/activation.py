"""Activations and elementwise losses, over 64 MiB on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

from gpudl.bench.workload import Draw, Scale, Workload
from gpudl.core.op import OPS

ACTIVATIONS = (
    "relu", "sigmoid", "tanh", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "softplus",
    "hardtanh", "gaussian", "hard_threshold", "scaled_tanh", "mish",
)  # fmt: skip
LOSSES = ("mse_loss", "l1_loss", "huber_loss", "kl_div", "binary_cross_entropy_with_logits")
QUICK = ("relu", "sigmoid", "gelu", "mse_loss")


def workloads(scale: Scale) -> Iterator[Workload]:
    shape = (64, 256, 32, 32) if scale.gpu else (8, 64, 32, 32)
    for name in ACTIVATIONS:
        yield Workload(name, OPS[name].of(), (shape,), independent=0, quick=name in QUICK)
    for name in LOSSES:
        target = Draw(shape, "uniform")
        yield Workload(name, OPS[name].of(), (shape, target), quick=name in QUICK)
