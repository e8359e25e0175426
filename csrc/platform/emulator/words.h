// CUDA's qualifiers and vector types for the host's compiler, with CUDA's sizes and alignments.
#pragma once
#include <cstdint>

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(bytes) alignas(bytes)

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
using uint3 = dim3;

constexpr int warpSize = 32;

#define GPUDL_VECTOR_TYPES(name, T)                                                  \
  struct alignas(2 * sizeof(T)) name##2 { T x, y; };                                 \
  struct alignas(4 * sizeof(T) < 16 ? 4 * sizeof(T) : 16) name##4 { T x, y, z, w; }; \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }                         \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
GPUDL_VECTOR_TYPES(char, signed char)
GPUDL_VECTOR_TYPES(uchar, unsigned char)
GPUDL_VECTOR_TYPES(short, short)
GPUDL_VECTOR_TYPES(ushort, unsigned short)
GPUDL_VECTOR_TYPES(int, int)
GPUDL_VECTOR_TYPES(uint, unsigned)
GPUDL_VECTOR_TYPES(float, float)
GPUDL_VECTOR_TYPES(longlong, long long)
GPUDL_VECTOR_TYPES(double, double)
#undef GPUDL_VECTOR_TYPES

struct float3 {
  float x, y, z;
};
struct int3 {
  int x, y, z;
};
inline float3 make_float3(float x, float y, float z) { return {x, y, z}; }
inline int3 make_int3(int x, int y, int z) { return {x, y, z}; }
