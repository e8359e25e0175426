// bfloat16 and tf32: conversions with the same bits on host, emulator and GPU.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#include "platform/host_device.h"
#include "platform/types.h"

namespace gpudl::device {

using gpudl::bfloat16;

GPUDL_HD inline uint32_t bits_of(float value) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(value);
#else
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
#endif
}

GPUDL_HD inline float float_of(uint32_t bits) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(bits);
#else
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
#endif
}

GPUDL_HD inline float to_float(bfloat16 value) { return float_of(uint32_t{value.bits} << 16); }

// Round to nearest, ties to even; every NaN becomes 0x7fff, as cvt.rn.bf16.f32 makes it.
GPUDL_HD inline bfloat16 to_bfloat16(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint16_t rounded;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(rounded) : "f"(value));
  return {rounded};
#else
  const uint32_t bits = bits_of(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return {0x7fff};
  return {static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16)};
#endif
}

// Two of them in a register, as tensor cores expect: `low` in bits 0 to 15.
GPUDL_HD inline uint32_t pack(bfloat16 low, bfloat16 high) { return uint32_t{high.bits} << 16 | low.bits; }

// tf32 is a float32 whose low 13 bits are zero. Round to nearest, ties away from zero, like cvt.rna.tf32.f32, which
// compiles to the same three instructions; infinity and quiet NaN are preserved.
GPUDL_HD inline uint32_t to_tf32(float value) {
  const uint32_t bits = bits_of(value);
  return (fabsf(value) < INFINITY ? bits + 0x1000u : bits) & ~0x1fffu;
}

// Round towards zero: value - truncate_tf32(value) is exact and has the sign of value.
GPUDL_HD inline uint32_t truncate_tf32(float value) { return bits_of(value) & ~0x1fffu; }

}  // namespace gpudl::device
