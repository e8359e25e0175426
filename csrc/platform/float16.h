// float16 (IEEE binary16): conversions with the same bits on host, emulator and GPU.
#pragma once
#include <cstdint>

#include "platform/bfloat16.h"

namespace gpudl::device {

using gpudl::float16;

GPUDL_HD inline float to_float(float16 value) {
  const uint32_t sign = (value.bits & 0x8000u) << 16, magnitude = value.bits & 0x7fffu;
  if (magnitude >= 0x7c00u) return float_of(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);  // infinity, NaN
  constexpr float SCALE = 5192296858534827628530496329220096.f;  // 2^112: from float16's exponents to float32's
  return float_of(sign | bits_of(float_of(magnitude << 13) * SCALE));
}

// Round to nearest, ties to even; too large becomes infinity, every NaN 0x7fff, as cvt.rn.f16.f32 makes it.
GPUDL_HD inline float16 to_float16(float value) {
#if defined(__CUDA_ARCH__)
  uint16_t rounded;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(rounded) : "f"(value));
  return {rounded};
#else
  const uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return {0x7fff};
  if (magnitude >= 0x47800000u) return {static_cast<uint16_t>(sign | 0x7c00u)};  // 65536 and more
  uint32_t rounded;
  if (magnitude < 0x38800000u) {  // below 2^-14: multiples of 2^-24, rounded by an addition whose last bit that is
    rounded = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
  } else {
    rounded = (magnitude + 0xfffu + (magnitude >> 13 & 1)) >> 13;
    rounded -= 112u << 10;
  }
  return {static_cast<uint16_t>(sign | rounded)};
#endif
}

GPUDL_HD inline uint32_t pack(float16 low, float16 high) { return uint32_t{high.bits} << 16 | low.bits; }

}  // namespace gpudl::device
