// Uniform and normal numbers from random words, with the same bits on every device: only operations that IEEE 754
// rounds correctly, and none that a compiler may fuse. gpudl/core/random.py has the same steps in NumPy.
#pragma once
#include <cstdint>

#include "core/philox.h"
#include "platform/device.h"

namespace gpudl {

// In [0, 1): a multiple of 2^-24.
GPUDL_DEVICE float uniform_from(uint32_t word) { return __fmul_rn(__uint2float_rn(word >> 8), 0x1p-24f); }

// a·x + b, rounded twice.
GPUDL_DEVICE float multiply_add(float a, float x, float b) { return __fadd_rn(__fmul_rn(a, x), b); }

// log u for 0 < u <= 1: u = 2^e·m with m in [sqrt(1/2), sqrt(2)), log m = 2·artanh((m-1)/(m+1)) by a series.
GPUDL_DEVICE float portable_log(float u) {
  const int pattern = __float_as_int(u);
  const int exponent = (pattern - 0x3F3504F3) >> 23;
  const float m = __int_as_float(pattern - exponent * (1 << 23));
  const float s = __fdiv_rn(__fsub_rn(m, 1.f), __fadd_rn(m, 1.f));
  const float z = __fmul_rn(s, s);
  float series = static_cast<float>(1.0 / 9);
  series = multiply_add(series, z, static_cast<float>(1.0 / 7));
  series = multiply_add(series, z, static_cast<float>(1.0 / 5));
  series = multiply_add(series, z, static_cast<float>(1.0 / 3));
  const float tail = __fadd_rn(s, s);
  const float artanh = __fadd_rn(tail, __fmul_rn(tail, __fmul_rn(z, series)));
  return multiply_add(__int2float_rn(exponent), static_cast<float>(0.6931471805599453), artanh);
}

// (cos, sin) of 2π·word/2^32: the nearest quarter turn exactly, the rest by series.
GPUDL_DEVICE float2 portable_cos_sin(uint32_t word) {
  const uint32_t shifted = word + (1u << 29);
  const uint32_t quarter = shifted >> 30;
  const int rest = static_cast<int>(shifted & ((1u << 30) - 1)) - (1 << 29);
  const float t = __fmul_rn(__int2float_rn(rest), static_cast<float>(1.4629180792671596e-9));  // 2π / 2^32
  const float z = __fmul_rn(t, t);
  float cosine = static_cast<float>(-1.0 / 3628800);
  cosine = multiply_add(cosine, z, static_cast<float>(1.0 / 40320));
  cosine = multiply_add(cosine, z, static_cast<float>(-1.0 / 720));
  cosine = multiply_add(cosine, z, static_cast<float>(1.0 / 24));
  cosine = multiply_add(cosine, z, -0.5f);
  cosine = multiply_add(cosine, z, 1.f);
  float sine = static_cast<float>(1.0 / 362880);
  sine = multiply_add(sine, z, static_cast<float>(-1.0 / 5040));
  sine = multiply_add(sine, z, static_cast<float>(1.0 / 120));
  sine = multiply_add(sine, z, static_cast<float>(-1.0 / 6));
  sine = __fadd_rn(t, __fmul_rn(t, __fmul_rn(z, sine)));
  const float c = quarter & 1 ? sine : cosine;
  const float s = quarter & 1 ? cosine : sine;
  return make_float2(quarter == 1 || quarter == 2 ? -c : c, quarter >= 2 ? -s : s);
}

// Two independent standard normal numbers from two words (Box and Muller 1958).
GPUDL_DEVICE float2 normals_from(uint32_t first, uint32_t second) {
  const float u = multiply_add(__uint2float_rn(first), 0x1p-32f, 0x1p-33f);  // never 0
  const float radius = __fsqrt_rn(__fmul_rn(portable_log(u), -2.f));
  const float2 direction = portable_cos_sin(second);
  return make_float2(__fmul_rn(radius, direction.x), __fmul_rn(radius, direction.y));
}

}  // namespace gpudl
