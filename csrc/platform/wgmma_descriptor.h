// The 64-bit descriptors of tiles in shared memory that wgmma reads (PTX manual, "Matrix Descriptor Format").
#pragma once
#include <cstdint>

#include "platform/host_device.h"

namespace gpudl::device {

// start: address of the tile, or of the 16 (bf16) or 8 (tf32) columns of it that one wgmma reads. Offsets in bytes.
GPUDL_HD inline uint64_t wgmma_descriptor(uint32_t start, uint32_t leading_offset, uint32_t stride_offset,
                                          uint32_t swizzle_code) {
  const auto encode = [](uint32_t bytes) { return static_cast<uint64_t>((bytes & 0x3ffff) >> 4); };
  return encode(start) | encode(leading_offset) << 16 | encode(stride_offset) << 32 |
         static_cast<uint64_t>(swizzle_code) << 62;
}

// Rows of K, 128 bytes wide (64 bf16, 32 tf32), 128-byte swizzle, tile aligned to 1024 bytes: the layout of a TMA box
// {64, rows}. Add 32 bytes to the address for each further 16 (bf16) or 8 (tf32) steps of k.
GPUDL_HD inline uint64_t wgmma_descriptor_k_major_128b(uint32_t address) {
  return wgmma_descriptor(address, 16, 1024, 1);
}

// Rows of M or N, 128 bytes (64 bf16) wide, 128-byte swizzle, tile aligned to 1024 bytes: the layout of a TMA box
// {64, k}. Wider tiles are several such boxes, `box_bytes` apart. Add 2048 bytes for each further 16 steps of k.
GPUDL_HD inline uint64_t wgmma_descriptor_mn_major_128b(uint32_t address, uint32_t box_bytes) {
  return wgmma_descriptor(address, box_bytes, 1024, 1);
}

}  // namespace gpudl::device
