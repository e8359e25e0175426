"""Matrix products: squares from 256 to 16384, fully connected layers of networks, skinny ones."""

from __future__ import annotations

from collections.abc import Iterator

from gpudl.bench.workload import Scale, Workload
from gpudl.ops.matrix.linear import LinearOp
from gpudl.ops.matrix.matmul import MatmulOp

SQUARES = (4096, 8192, 1024, 256, 512, 2048, 16384)

# (rows of x, inputs, outputs) of linear layers, at batch 256 unless the rows say otherwise.
LAYERS = {
    "LeNet-5 fc1": (256, 400, 120),
    "LeNet-5 fc3": (256, 84, 10),
    "autoencoder 784-256": (256, 784, 256),
    "AlexNet fc6": (256, 9216, 4096),
    "AlexNet fc7": (256, 4096, 4096),
    "VGG-16 fc6": (256, 25088, 4096),
    "VGG-16 fc8": (256, 4096, 1000),
    "GoogLeNet fc": (256, 1024, 1000),
    "ResNet-50 fc": (256, 2048, 1000),
    "LSTM input projection": (16384, 768, 3072),
    "RBM 784-500": (100, 784, 500),
}

# (m, n, k): small and skinny products, whose result has few tiles.
SKINNY = {
    "256x512x256": (256, 512, 256),
    "one row": (1, 4096, 4096),
    "16 rows": (16, 4096, 4096),
    "few columns": (16384, 16, 4096),
    "long sum": (64, 64, 65536),
    "short sum": (4096, 4096, 32),
    "odd extents": (1023, 1025, 1027),
}

QUICK_GPU = {"4096", "8192", "1024", "AlexNet fc7", "VGG-16 fc8", "256x512x256", "16 rows",
             "long sum"}  # fmt: skip
QUICK_CPU = {"256", "512", "1024", "LeNet-5 fc1", "autoencoder 784-256", "GoogLeNet fc",
             "RBM 784-500", "256x512x256", "16 rows"}  # fmt: skip


def workloads(scale: Scale) -> Iterator[Workload]:
    quick = QUICK_GPU if scale.gpu else QUICK_CPU
    plain = MatmulOp.of(False, False)
    for n in SQUARES:
        if scale.gpu or n <= 2048:
            yield Workload(
                f"square {n}", plain, ((n, n), (n, n)), ("forward",), quick=str(n) in quick
            )
    for name, (rows, inputs, outputs) in LAYERS.items():
        if rows * inputs <= 1 << 22 or scale.gpu:
            yield Workload(
                name,
                LinearOp.of("none"),
                ((rows, inputs), (outputs, inputs), (outputs,)),
                ("forward", "backward x", "backward weight bias"),
                quick=name in quick,
            )
    for name, (m, n, k) in SKINNY.items():
        yield Workload(name, plain, ((m, k), (k, n)), ("forward",), quick=name in quick)
