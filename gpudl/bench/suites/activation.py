"""Activations and elementwise losses, over 64 MiB on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

from gpudl.bench.workload import Scale, Workload
from gpudl.op import OPS

# Fields of the operators that have some without a default.
FIELDS: dict[str, tuple[object, ...]] = {}
NAMES = ("relu", "sigmoid", "tanh", "leaky_relu", "softplus", "elu", "gelu", "silu", "hardtanh",
         "gaussian", "threshold_ste")  # fmt: skip
LOSSES = ("mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits")
QUICK = ("relu", "sigmoid", "gelu", "mse_loss")


def workloads(scale: Scale) -> Iterator[Workload]:
    shape = (64, 256, 32, 32) if scale.gpu else (8, 64, 32, 32)
    for name in NAMES:
        if name in OPS:
            yield Workload(
                name, OPS[name].of(*FIELDS.get(name, ())), (shape,), independent=0,
                quick=name in QUICK,
            )  # fmt: skip
    for name in LOSSES:
        if name in OPS:
            op = OPS[name].of()
            inputs = (shape, shape, *(None for _ in op.inputs[2:]))
            yield Workload(name, op, inputs, quick=name in QUICK)
