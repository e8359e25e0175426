// The permutation of shared addresses that TMA and wgmma share: bits 4 to 6 (the 16-byte chunk) are XORed with bits 7
// to 9 (the 128-byte line), as many of them as the width has chunks.
#pragma once
#include <cstdint>

namespace gpudl::emulator {

inline uint32_t swizzled(uint32_t address, int width) {
  switch (width) {
    case 128: return address ^ ((address >> 7 & 7) << 4);
    case 64: return address ^ ((address >> 7 & 3) << 4);
    case 32: return address ^ ((address >> 7 & 1) << 4);
    default: return address;
  }
}

}  // namespace gpudl::emulator
