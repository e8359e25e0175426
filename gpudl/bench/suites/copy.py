"""Moving data: copies, joining, padding, changes of format, random fills."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gpudl.bench.workload import Call, Scale, Workload, given
from gpudl.ops.random.fills import DropoutOp, NormalFillOp, UniformFillOp
from gpudl.ops.shape.convert import CloneOp
from gpudl.ops.shape.joining import CatOp
from gpudl.ops.shape.pad import PadOp


def workloads(scale: Scale) -> Iterator[Workload]:
    n = (1 << 26) if scale.gpu else (1 << 22)
    image = (64, 256, 56, 56) if scale.gpu else (8, 64, 56, 56)
    both = ("forward", "backward")
    counter = given(np.array([0, 0, 0], np.int64))  # seed, stream, offset
    yield Workload("copy", CloneOp.of(), ((n,),), ("forward",), quick=True)
    yield Workload("join 2 images", CatOp.of(1, 2), (image, image), both, independent=0)
    frame = PadOp.of((0, 0, 1, 1), (0, 0, 1, 1), "constant", 0.0)
    yield Workload("pad images by 1", frame, (image,), both, independent=0, quick=True)
    yield Workload("dropout", DropoutOp.of(0.5), (image, counter), ("forward",), quick=True)
    for name, op in (("uniform", UniformFillOp), ("normal", NormalFillOp)):
        yield Workload(
            f"fill, {name}",
            op.of((n,)),
            (counter,),
            ("forward",),
            peer=_filler(name, n),
            quick=True,
        )


def _filler(name: str, n: int) -> Callable[..., Call]:
    def peer(torch: Any, counter: Any) -> Call:
        target = torch.empty(n, device=counter.device)
        return target.uniform_ if name == "uniform" else target.normal_  # type: ignore[no-any-return]

    return peer
