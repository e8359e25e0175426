"""Pooling: max and average pools of well-known networks."""

from __future__ import annotations

from collections.abc import Iterator

from gpudl.bench.suites.networks import POOLS
from gpudl.bench.workload import Scale, Workload
from gpudl.ops.pool.average import AvgPoolOp
from gpudl.ops.pool.max import MaxPoolOp


def workloads(scale: Scale) -> Iterator[Workload]:
    batch = 64 if scale.gpu else 8
    for network, layers in POOLS.items():
        for i, layer in enumerate(layers):
            kind, channels, size, window, stride, padding, ceil = layer
            sizes = [(value, value) for value in (window, stride, padding, 1)]
            op = (
                MaxPoolOp.of(*sizes, ceil) if kind == "max" else AvgPoolOp.of(*sizes, ceil, True, 0)
            )
            name = f"{network} {kind} {window}x{window}/{stride}, {channels}x{size}, batch {batch}"
            yield Workload(
                name,
                op,
                ((batch, channels, size, size),),
                independent=0,
                quick=network != "VGG-16" or i < 1,
            )
