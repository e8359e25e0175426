"""Normalisation: batch norm (alone, with residual and ReLU), layer, RMS and group norm, LRN."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpudl.bench.workload import Draw, Scale, Workload, given
from gpudl.ops.norm.batch import BatchNormOp
from gpudl.ops.norm.group import GroupNormOp
from gpudl.ops.norm.layer import LayerNormOp, RmsNormOp
from gpudl.ops.norm.local_response import LocalResponseNormOp

# Outputs of ResNet's stages: (channels, side).
IMAGES = ((64, 112), (256, 56), (512, 28), (2048, 7))

AFTER_ALEXNET = ((64, 55), (192, 27))  # the layers that Krizhevsky 2012 normalises this way
ROWS_GPU = ((16384, 1024), (16384, 768), (4096, 8192))
ROWS_CPU = ((1024, 1024), (1024, 768))


def workloads(scale: Scale) -> Iterator[Workload]:
    batch = 64 if scale.gpu else 4
    packed = scale.kind != "cpu"  # on the CPU the gradient reads the output instead
    for channels, size in IMAGES:
        image = (batch, channels, size, size)
        text = f"{channels}x{size}, batch {batch}"
        for name, op, residual in (
            ("training", BatchNormOp.of(True), False),
            ("training, add, ReLU", BatchNormOp.of(True, 0.1, 1e-5, "relu", False, packed), True),
            ("inference, ReLU", BatchNormOp.of(False, 0.1, 1e-5, "relu"), False),
        ):
            yield Workload(
                f"batch norm {name}, {text}",
                op,
                _batch_norm_inputs(image, residual),
                ("forward",) if name.startswith("inference") else ("forward", "backward"),
                independent=1,
                quick=channels in (256, 2048) and not name.startswith("inference"),
            )

    for rows, features in ROWS_GPU if scale.gpu else ROWS_CPU:
        text = f"{rows}x{features}"
        yield Workload(
            f"layer norm {text}",
            LayerNormOp.of((features,)),
            ((rows, features), (features,), (features,)),
            independent=0,
            quick=features == 1024,
        )
        yield Workload(
            f"RMS norm {text}",
            RmsNormOp.of((features,)),
            ((rows, features), (features,)),
            independent=0,
        )

    for channels, size in IMAGES[1:3]:
        image = (batch, channels, size, size)
        yield Workload(
            f"group norm, 32 groups, {channels}x{size}, batch {batch}",
            GroupNormOp.of(32),
            (image, (channels,), (channels,)),
            independent=0,
            quick=channels == 256,
        )
    for channels, size in AFTER_ALEXNET:
        yield Workload(
            f"local response norm over 5, {channels}x{size}, batch {batch}",
            LocalResponseNormOp.of(5),
            ((batch, channels, size, size),),
            independent=0,
            quick=channels == 64,
        )


def _batch_norm_inputs(
    image: tuple[int, ...], residual: bool
) -> tuple[Draw | tuple[int, ...] | None, ...]:
    c = image[1]
    zeros, ones = given(np.zeros(c, np.float32)), given(np.ones(c, np.float32))
    return image, zeros, ones, (c,), (c,), image if residual else None, None
