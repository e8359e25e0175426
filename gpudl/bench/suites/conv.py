"""Convolution: each distinct layer of LeNet-5, AlexNet, VGG-16, GoogLeNet, ResNet-18 and 50."""

from __future__ import annotations

from collections.abc import Iterator

from gpudl.bench.suites.networks import Conv, distinct
from gpudl.bench.workload import Scale, Workload
from gpudl.ops.conv import Conv2dOp

BATCHES = (256, 32)
CPU_BATCH = 8
EMULATOR_BATCH = 1

QUICK_GPU = {
    Conv(3, 224, 64, 7, 2, 3),
    Conv(64, 56, 64, 3, 1, 1),
    Conv(256, 56, 64, 1),
    Conv(128, 28, 128, 3, 1, 1),
    Conv(512, 7, 512, 3, 1, 1),
    Conv(1, 28, 6, 5, 1, 2),
}
QUICK_CPU = {
    Conv(1, 28, 6, 5, 1, 2),
    Conv(6, 14, 16, 5),
    Conv(192, 13, 384, 3, 1, 1),
    Conv(64, 56, 64, 3, 1, 1),
    Conv(512, 14, 128, 1),
    Conv(512, 7, 512, 3, 1, 1),
}


def workloads(scale: Scale) -> Iterator[Workload]:
    chosen = QUICK_GPU if scale.gpu else QUICK_CPU
    for batch in batches(scale):
        for owners, layer in distinct():
            quick = layer in chosen and batch != BATCHES[1]
            yield conv_workload(f"{owners} {layer.name}, batch {batch}", layer, batch, quick)


def batches(scale: Scale) -> tuple[int, ...]:
    if scale.gpu:
        return BATCHES
    if scale.quick:
        return (CPU_BATCH if scale.kind == "cpu" else EMULATOR_BATCH,)
    return BATCHES[::-1]


def conv_workload(name: str, layer: Conv, batch: int, quick: bool) -> Workload:
    c, size, k, window, stride, padding, groups = layer
    first = c <= 3  # the gradient of images is never asked for
    return Workload(
        name,
        Conv2dOp.of((stride, stride), (padding, padding), (1, 1), groups),
        ((batch, c, size, size), (k, c // groups, window, window), None),
        ("forward", "backward weight") if first else ("forward", "backward x", "backward weight"),
        quick=quick,
    )
