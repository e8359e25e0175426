"""Theoretical occupancy: how many warps a multiprocessor can hold at once, and what limits it.

Limits and allocation units come from NVIDIA's CUDA C++ Programming Guide, "Compute Capabilities",
and from the occupancy calculator of Nsight Compute: registers are allocated per warp in units of
256, shared memory in units of 128 bytes, and the system reserves 1024 bytes per block.
"""

from __future__ import annotations

from typing import NamedTuple

WARP = 32
REGISTER_UNIT = 256
WARP_UNIT = 4  # warps spread evenly over the four partitions of a multiprocessor
SHARED_UNIT = 128
RESERVED = 1024


class Multiprocessor(NamedTuple):
    """Limits of one multiprocessor; shared memory in bytes."""

    warps: int
    blocks: int
    registers: int
    shared: int


LIMITS = {
    "80": Multiprocessor(64, 32, 65536, 164 << 10),
    "90a": Multiprocessor(64, 32, 65536, 228 << 10),
}


class Occupancy(NamedTuple):
    """Resident blocks and warps, the fraction of the possible warps, and the limiting resource:
    "warps", "blocks", "registers" or "shared"."""

    blocks: int
    warps: int
    fraction: float
    limit: str


def occupancy(arch: str, threads: int, registers: int, shared: int) -> Occupancy:
    """Occupancy from threads per block, registers per thread and bytes of shared memory per block
    (static and dynamic)."""
    multiprocessor = LIMITS[arch]
    warps = -(-threads // WARP)
    per_warp = -(-registers * WARP // REGISTER_UNIT) * REGISTER_UNIT
    by_registers = multiprocessor.registers // per_warp // WARP_UNIT * WARP_UNIT
    per_block = -(-(shared + RESERVED) // SHARED_UNIT) * SHARED_UNIT
    limits = {
        "warps": multiprocessor.warps // warps,
        "blocks": multiprocessor.blocks,
        "registers": by_registers // warps,
        "shared": multiprocessor.shared // per_block,
    }
    limit = min(limits, key=lambda name: limits[name])
    blocks = limits[limit]
    return Occupancy(blocks, blocks * warps, blocks * warps / multiprocessor.warps, limit)
