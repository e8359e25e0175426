"""Peak rates of GPUs, and how long a kernel should take: the longer of its times for arithmetic and
for memory traffic (the roofline; Williams, Waterman, Patterson 2009), plus the launch time.

Predictions rank algorithms before anything is measured; they do not claim actual speeds.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gpudl.core.launcher import Computes


class Machine(NamedTuple):
    """flops: peak FLOP/s by kind of arithmetic (dense). mma: the share of the tensor cores' peak
    that mma.sync reaches. bandwidth, cache: bytes/s of memory and of the L2 cache. shared_bytes:
    maximum shared memory per block. launch: seconds between two kernels. barrier: seconds per
    barrier of all blocks."""

    name: str
    multiprocessors: int
    flops: dict[str, float]
    mma: float
    bandwidth: float
    cache: float
    shared_bytes: int
    launch: float = 2.5e-6
    barrier: float = 1.5e-6

    def ceiling(self, computes: Computes) -> float:
        """FLOP/s that a kernel with this arithmetic can reach, where the several products of a
        split operand (tf32x3) count as one."""
        if computes.unit == "simt":
            return self.flops["float32"]
        share = 1.0 if computes.unit == "wgmma" else self.mma
        return self.flops[computes.numbers] * share / computes.products

    def roofline(self, computes: Computes, flops: float, moved: float) -> float:
        """Seconds for this many operations and bytes."""
        return max(flops / self.ceiling(computes), moved / self.bandwidth) + self.launch

    def waves(self, blocks: int, resident: int = 1) -> float:
        """How much longer a grid takes because its last wave leaves multiprocessors idle: at least
        1. resident: blocks that share a multiprocessor."""
        if blocks == 0:
            return 1.0
        slots = self.multiprocessors * resident
        return -(-blocks // slots) * slots / blocks


# Peaks from the vendor's data sheets (dense, boost clock). mma.sync reached about 62 % of wgmma's
# rate on Hopper.
H100 = Machine(
    "H100", 132,
    {"float32": 66.9e12, "tf32": 494.7e12, "bfloat16": 989.4e12, "float16": 989.4e12},
    mma=0.62, bandwidth=3.35e12, cache=5.5e12, shared_bytes=227 * 1024,
)  # fmt: skip
A100 = Machine(
    "A100", 108, {"float32": 19.5e12, "tf32": 156e12, "bfloat16": 312e12, "float16": 312e12},
    mma=1.0, bandwidth=1.555e12, cache=4.5e12, shared_bytes=163 * 1024,
)  # fmt: skip


@cache
def machine_of(capability: str, multiprocessors: int, shared_bytes: int | None = None) -> Machine:
    """The most similar known machine, scaled to this number of multiprocessors and shared memory;
    ranking depends only on ratios. capability: such as "90" or "86"."""
    near = H100 if int(capability) >= 90 else A100
    scale = multiprocessors / near.multiprocessors
    return near._replace(
        multiprocessors=multiprocessors,
        flops={kind: flops * scale for kind, flops in near.flops.items()},
        bandwidth=near.bandwidth * scale,
        cache=near.cache * scale,
        shared_bytes=shared_bytes or near.shared_bytes,
    )
