"""Theoretical occupancy: how many warps a multiprocessor holds at once, by what limits it.

Limits and allocation units are those of NVIDIA's CUDA C++ Programming Guide, "Compute
Capabilities", tables of technical specifications, and of the occupancy calculator in Nsight
Compute (registers are allocated to a warp in units of 256, shared memory in units of 128 bytes, of
which the system keeps 1024 in each block).
"""

from __future__ import annotations

from typing import NamedTuple

WARP = 32
REGISTER_UNIT = 256
WARP_UNIT = 4  # a multiprocessor's four partitions take warps evenly
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
    """Resident blocks and warps, the fraction of the warps that fit at most, and what limits them:
    "warps", "blocks", "registers" or "shared"."""

    blocks: int
    warps: int
    fraction: float
    limit: str


def occupancy(arch: str, threads: int, registers: int, shared: int) -> Occupancy:
    """Of blocks with so many threads, registers a thread and bytes of shared memory (static and
    dynamic)."""
    has = LIMITS[arch]
    warps = -(-threads // WARP)
    per_warp = -(-registers * WARP // REGISTER_UNIT) * REGISTER_UNIT
    by_registers = has.registers // per_warp // WARP_UNIT * WARP_UNIT
    per_block = -(-(shared + RESERVED) // SHARED_UNIT) * SHARED_UNIT
    limits = {
        "warps": has.warps // warps,
        "blocks": has.blocks,
        "registers": by_registers // warps,
        "shared": has.shared // per_block,
    }
    limit = min(limits, key=lambda name: limits[name])
    blocks = limits[limit]
    return Occupancy(blocks, blocks * warps, blocks * warps / has.warps, limit)
