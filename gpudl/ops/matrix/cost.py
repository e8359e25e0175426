"""How matrix products are cut up, and how long they should take; see csrc/prim/gemm/gemm.h."""

from __future__ import annotations

from functools import lru_cache

from gpudl.core.machine import H100, Machine

TILE = 64  # rows and columns of the tiles that small products are cut into
SHORTEST_PIECE = 128  # of k
MOST_PIECES = 128

# Overheads in steps of k that a multiprocessor computes of a tile (about 8 ns): filling the
# pipeline of a block, starting the second kernel, moving one partial sum out and in again.
START, SECOND_KERNEL, PARTIAL = 64, 300, 3e-4

# (rows, columns, share of the ceiling that tiles of this shape reach)
TILES = {
    "simt": ((32, 32, 0.45), (128, 128, 0.85)),
    "simt_large": ((128, 128, 0.85),),
    "wgmma": ((128, 256, 0.8), (128, 128, 0.7), (64, 64, 0.5)),
    "mma": ((128, 128, 0.95), (64, 64, 0.7)),
    "split": ((128, 64, 0.8), (64, 64, 0.65)),
}
FEWEST = {"mma_bf16x6": 32, "mma_tf32x3": 96}  # shorter sums are computed as by simt


@lru_cache(maxsize=4096)
def gemm_pieces(m: int, n: int, k: int, batch: int = 1) -> int:
    """Into how many pieces k is cut, each multiplied by blocks of its own: as many as make the
    product end first on an H100, by its waves of blocks. One where enough tiles cover the result.

    Stream-K (Osama et al. 2023), which cuts the tiles of the last wave only, would save less than
    one wave of products that have several; those lose at most that share, and it needs blocks that
    wait for each other.
    """
    tiles = batch * -(-m // TILE) * -(-n // TILE)

    def time(pieces: int) -> float:
        waves = -(-tiles * pieces // H100.multiprocessors)
        second = SECOND_KERNEL + PARTIAL * pieces * batch * m * n if pieces > 1 else 0
        return waves * (-(-k // pieces) + START) + second

    return min(range(1, max(1, min(k // SHORTEST_PIECE, MOST_PIECES)) + 1), key=time)


def gemm_workspace(m: int, n: int, k: int, batch: int = 1, sum_batches: bool = False) -> int:
    """Float32 elements of scratch memory with which csrc/prim/gemm/gemm.h multiplies well: room for
    the partial sums of all pieces, none where one piece is best."""
    if m * n * batch == 0:
        return 0
    pieces = gemm_pieces(m, n, k, batch)
    if pieces == 1 and not (sum_batches and batch > 1):
        return 0
    return pieces * batch * m * n


def column_workspace(rows: int, columns: int) -> int:
    """Float32 elements of scratch memory with which csrc/prim/column_sums.h sums columns well: no
    more parts than fill an H100 four times, each of at least 128 rows."""
    blocks = 4 * H100.multiprocessors // max(1, -(-columns // 256))
    parts = min(rows // 128, blocks)
    return parts * columns if parts > 1 else 0


def gemm_seconds(
    machine: Machine, algorithm: str, batch: int, m: int, n: int, k: int, itemsize: int
) -> float:
    """Predicted time of one product: the multiprocessor that has the most tiles, or the memory."""
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
