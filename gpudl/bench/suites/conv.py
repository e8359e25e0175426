"""Convolution: each distinct layer of LeNet-5, AlexNet, VGG-16, GoogLeNet, ResNet-18 and 50."""

from __future__ import annotations

from collections.abc import Iterator

from gpudl.bench.suites.networks import Conv, distinct
from gpudl.bench.workload import Scale, Workload
from gpudl.ops.conv.conv import Conv1dOp, Conv2dOp, Conv3dOp
from gpudl.ops.conv.transpose import ConvTranspose2dOp

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
    yield from other_ranks(32 if scale.gpu else 4)


def other_ranks(batch: int) -> Iterator[Workload]:
    """Depthwise, 1-d, 3-d and transposed layers, the latter from a decoder (Radford, Metz, Chintala
    2016)."""
    every = ("forward", "backward x", "backward weight")
    depthwise = Conv(256, 14, 256, 3, 1, 1, 256)
    yield conv_workload(f"depthwise {depthwise.name}, batch {batch}", depthwise, batch, True)
    yield Workload(
        f"1-d 64x1024 -> 9, 128, batch {batch}",
        Conv1dOp.of((1,), (4,), (1,), 1),
        ((batch, 64, 1024), (128, 64, 9)),
        every,
    )
    yield Workload(
        f"3-d 16x16 -> 3x3x3, 32, batch {batch}",
        Conv3dOp.of((1, 1, 1), (1, 1, 1), (1, 1, 1), 1),
        ((batch, 16, 16, 16, 16), (32, 16, 3, 3, 3)),
        every,
    )
    yield Workload(
        f"transposed 256x8 -> 4x4, 128/2, batch {batch}",
        ConvTranspose2dOp.of((2, 2), (1, 1), (1, 1), 1, (0, 0), (0, 0)),
        ((batch, 256, 8, 8), (256, 128, 4, 4)),
        every,
        quick=True,
    )


def batches(scale: Scale) -> tuple[int, ...]:
    if scale.gpu:
        return BATCHES
    if scale.quick:
        return (CPU_BATCH if scale.kind == "cpu" else EMULATOR_BATCH,)
    return BATCHES[::-1]


def conv_workload(name: str, layer: Conv, batch: int, quick: bool) -> Workload:
    c, size, k, window, stride, padding, groups = layer
    first = c <= 3  # training needs no gradient of the images
    return Workload(
        name,
        Conv2dOp.of((stride, stride), (padding, padding), (1, 1), groups),
        ((batch, c, size, size), (k, c // groups, window, window), None),
        ("forward", "backward weight") if first else ("forward", "backward x", "backward weight"),
        quick=quick,
    )
