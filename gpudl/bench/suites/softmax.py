"""Softmax, log-softmax and softmax cross-entropy over rows of 10 to 32768 classes."""

from __future__ import annotations

from collections.abc import Iterator

from gpudl.bench.workload import Scale, Workload, labels
from gpudl.ops.activation.softmax import LogSoftmaxOp, SoftmaxOp
from gpudl.ops.loss.cross_entropy import CrossEntropyOp

GPU = ((16384, 10), (4096, 1000), (8192, 4096), (4096, 32768))
CPU = ((1024, 10), (256, 1000), (64, 32768))


def workloads(scale: Scale) -> Iterator[Workload]:
    for rows, classes in GPU if scale.gpu else CPU:
        text = f"{rows}x{classes}"
        quick = classes != 4096
        for name, op in (("softmax", SoftmaxOp.of()), ("log-softmax", LogSoftmaxOp.of())):
            yield Workload(
                f"{name} {text}", op, ((rows, classes),), independent=0,
                quick=quick and name == "softmax",
            )  # fmt: skip
        yield Workload(
            f"cross-entropy {text}",
            CrossEntropyOp.of(),
            ((rows, classes), labels((rows,), classes), None),
            quick=quick,
        )
