"""How matrix products are split, and their predicted times; see csrc/prim/gemm/gemm.h."""

from __future__ import annotations

from functools import lru_cache

from gpudl.core.machine import H100, Machine

TILE = 64  # rows and columns of a small product's tile
SHORTEST_PIECE = 128  # steps of k
MOST_PIECES = 128

# Overheads, in the time a multiprocessor takes for one step of k of a tile (about 8 ns): filling a
# block's pipeline, launching the second kernel, writing and rereading one partial sum.
START, SECOND_KERNEL, PARTIAL = 64, 300, 3e-4

# (rows, columns, share of the machine's ceiling that such tiles reach)
TILES = {
    "simt": ((32, 32, 0.45), (128, 128, 0.85)),
    "simt_large": ((128, 128, 0.85),),
    "wgmma": ((128, 256, 0.8), (128, 128, 0.7), (64, 64, 0.5)),
    "mma": ((128, 128, 0.95), (64, 64, 0.7)),
    "split": ((128, 64, 0.8), (64, 64, 0.65)),
}
FEWEST = {"mma_bf16x6": 32, "mma_tf32x3": 96}  # shorter sums are left to simt


@lru_cache(maxsize=4096)
def gemm_pieces(m: int, n: int, k: int, batch: int = 1) -> int:
    """Number of pieces that k is split into, each with its own blocks: the one that finishes first
    on an H100, counting waves of blocks. 1 if the result has enough tiles.

    Stream-K (Osama et al. 2023), which splits only the tiles of the last wave, would save less than
    one wave of a product that has several, and it needs blocks that wait for each other.
    """
    tiles = batch * -(-m // TILE) * -(-n // TILE)

    def time(pieces: int) -> float:
        waves = -(-tiles * pieces // H100.multiprocessors)
        second = SECOND_KERNEL + PARTIAL * pieces * batch * m * n if pieces > 1 else 0
        return waves * (-(-k // pieces) + START) + second

    return min(range(1, max(1, min(k // SHORTEST_PIECE, MOST_PIECES)) + 1), key=time)


def gemm_workspace(m: int, n: int, k: int, batch: int = 1, sum_batches: bool = False) -> int:
    """Float32 elements of scratch memory that csrc/prim/gemm/gemm.h wants: room for the partial
    sums of all pieces, none if one piece is best."""
    if m * n * batch == 0:
        return 0
    pieces = gemm_pieces(m, n, k, batch)
    if pieces == 1 and not (sum_batches and batch > 1):
        return 0
    return pieces * batch * m * n


def column_workspace(rows: int, columns: int) -> int:
    """Float32 elements of scratch memory that csrc/prim/column_sums.h wants: room for parts of at
    least 128 rows, no more than fill an H100 four times."""
    blocks = 4 * H100.multiprocessors // max(1, -(-columns // 256))
    parts = min(rows // 128, blocks)
    return parts * columns if parts > 1 else 0


def gemm_seconds(
    machine: Machine, algorithm: str, batch: int, m: int, n: int, k: int, itemsize: int
) -> float:
    """Predicted seconds of one product, bound by the busiest multiprocessor or by memory."""
    if m * n * batch == 0:
        return machine.launch
    if k < FEWEST.get(algorithm, 0):
        algorithm = "simt"
    kind = algorithm if algorithm in TILES else algorithm.partition("_")[0]
    if algorithm in FEWEST:
        kind = "split"
    pieces = gemm_pieces(m, n, k, batch)
    rate = machine.ceiling(algorithm) / machine.multiprocessors

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
