"""Predicted times of the matrix products in csrc/prim/gemm/gemm.h."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpudl.core.launcher import Launcher
    from gpudl.core.machine import Machine

# The time that a block needs to fill its pipeline, in steps of k.
START = 64

# (rows, columns, share of the machine's ceiling that these tiles reach)
TILES = {
    "simt": ((32, 32, 0.45), (128, 128, 0.85)),
    "simt_large": ((128, 128, 0.85),),
    "wgmma": ((128, 256, 0.8), (128, 128, 0.7), (64, 64, 0.5)),
    "mma": ((128, 128, 0.95), (64, 64, 0.7)),
    "split": ((128, 64, 0.8), (64, 64, 0.65)),
}


@lru_cache(maxsize=4096)
def gemm_pieces(module: Any, m: int, n: int, k: int, batch: int = 1) -> int:
    """Number of pieces that the kernels of an extension module split k into."""
    return int(module.gemm_pieces(m, n, k, batch))


def gemm_seconds(
    machine: Machine, kernel: Launcher, batch: int, m: int, n: int, k: int, itemsize: int
) -> float:
    """Predicted seconds for one product, limited by the busiest multiprocessor or by memory."""
    if m * n * batch == 0:
        return machine.launch
    computes = kernel.computes.of_sum(k)
    kind = "split" if computes.products > 1 else computes.unit
    if kernel.algorithm == "simt_large":
        kind = "simt_large"
    pieces = gemm_pieces(kernel.module, m, n, k, batch)
    rate = machine.ceiling(computes) / machine.multiprocessors

    def busiest(rows: int, columns: int, share: float) -> float:
        blocks = batch * pieces * -(-m // rows) * -(-n // columns)
        steps = -(-blocks // machine.multiprocessors) * (-(-k // pieces) + START)
        return steps * 2 * rows * columns / (rate * share)

    moved = itemsize * batch * (m * k + k * n + m * n)
    second = 0.0
    if pieces > 1:
        second = machine.launch + 8 * pieces * batch * m * n / machine.bandwidth
    tiles = (busiest(*tile) for tile in TILES[kind])
    return max(min(tiles), moved / machine.bandwidth) + machine.launch + second
