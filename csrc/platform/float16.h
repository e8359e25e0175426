// float16 (IEEE 754 binary16): conversions with the same bits on host, emulator and GPU.
#pragma once
#include <cstdint>

#include "platform/bfloat16.h"

namespace gpudl::device {

using gpudl::float16;

// Exact; a NaN becomes quiet.
GPUDL_HD inline float to_float(float16 value) {
#if defined(__CUDA_ARCH__)
  float widened;
  asm("cvt.f32.f16 %0, %1;" : "=f"(widened) : "h"(value.bits));
  return widened;
#else
  const uint32_t sign = uint32_t{value.bits} << 16 & 0x80000000u;
  const uint32_t magnitude = uint32_t{value.bits & 0x7fffu} << 13;  // exponent and fraction at float32's positions
  if (magnitude > 0x0f800000u) return float_of(sign | 0x7fc00000u | magnitude);
  if (magnitude == 0x0f800000u) return float_of(sign | 0x7f800000u);
  return float_of(sign | bits_of(float_of(magnitude) * 0x1p112f));  // adjusts the exponent bias, subnormals included
#endif
}

// Round to nearest, ties to even, subnormal numbers too; every NaN becomes 0x7fff, as cvt.rn.f16.f32 makes it.
GPUDL_HD inline float16 to_float16(float value) {
#if defined(__CUDA_ARCH__)
  uint16_t rounded;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(rounded) : "f"(value));
  return {rounded};
#else
  const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {0x7fff};
  if (magnitude >= 0x477ff000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // from 65520 on: infinity
  uint32_t rounded;
  if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 leaves multiples of 2^-24, rounded
    rounded = bits_of(float_of(magnitude) + 0.5f) - 0x3f000000u;
  } else {
    rounded = (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13;
  }
  return {static_cast<uint16_t>(sign | rounded)};
#endif
}

GPUDL_HD inline uint32_t pack(float16 low, float16 high) { return uint32_t{high.bits} << 16 | low.bits; }

}  // namespace gpudl::device
