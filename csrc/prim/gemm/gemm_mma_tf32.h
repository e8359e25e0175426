// Policies of prim/gemm/gemm_mma.h for float32 operands: rounded to TF32, or split into two TF32 parts each.
#pragma once
#include "prim/gemm/gemm_mma.h"

namespace gpudl::prim {

// Fragments of mma m16n8k8 for lane l of a warp: a[i] is a[l/4 + i%2*8][l%4 + i/2*4], b[i] is b[l%4 + i*4][l/4].
template <class Operand>
GPUDL_DEVICE float mma_value(const float* tile, int row, int k) {
  return tile[Operand::K_FAST ? row * Operand::STRIDE + k : k * Operand::STRIDE + row];
}

template <class A>
GPUDL_DEVICE void load_fragment_a(float (&values)[4], const float* tile, int row, int k) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < 4; ++i) values[i] = mma_value<A>(tile, row + lane / 4 + i % 2 * 8, k + lane % 4 + i / 2 * 4);
}
template <class B>
GPUDL_DEVICE void load_fragment_b(float (&values)[2], const float* tile, int column, int k) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < 2; ++i) values[i] = mma_value<B>(tile, column + lane / 4, k + lane % 4 + i * 4);
}

// Operands rounded to TF32, 11 significant bits; sums in float32.
template <class Tile_>
struct Tf32Products {
  using Element = float;
  using Tile = Tile_;
  float sum[Tile::WARP_TILES_M][Tile::WARP_TILES_N][4] = {};

  template <int N>
  static GPUDL_DEVICE void round(uint32_t (&rounded)[N], const float (&values)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) rounded[i] = device::to_tf32(values[i]);
  }

  template <class A, class B>
  GPUDL_DEVICE void multiply(const float* a_tile, const float* b_tile) {
#pragma unroll
    for (int k = 0; k < Tile::BK; k += 8) {
      uint32_t a[Tile::WARP_TILES_M][4];
#pragma unroll
      for (int i = 0; i < Tile::WARP_TILES_M; ++i) {
        float values[4];
        load_fragment_a<A>(values, a_tile, i * 16, k);
        round(a[i], values);
      }
#pragma unroll
      for (int j = 0; j < Tile::WARP_TILES_N; ++j) {
        float values[2];
        uint32_t b[2];
        load_fragment_b<B>(values, b_tile, j * 8, k);
        round(b, values);
#pragma unroll
        for (int i = 0; i < Tile::WARP_TILES_M; ++i) device::mma_m16n8k8_tf32(sum[i][j], a[i], b);
      }
    }
  }
  GPUDL_DEVICE bool finish() const { return false; }
};
using Tf32 = Tf32Products<MmaTile<128, 128, 16, 64, 32>>;

// Whether x is 0 or 2^-60 <= |x| < 2^60, so that neither its parts nor their products overflow or underflow.
GPUDL_DEVICE bool splits(float x) {
  const uint32_t magnitude = device::bits_of(x) & 0x7fffffffu;
  return magnitude == 0 || magnitude - (67u << 23) < (120u << 23);
}

// float32 products at tensor-core speed: x = large + small, both TF32, and a·b = small·large + large·small +
// large·large. The large part is rounded to nearest, so the small one has at most 12 bits and random sign. The dropped
// terms, the product of the small parts and the last bit of a small part, are below 2^-22 |a||b| and average out.
// Tensor cores sum only eight values of k, small products first; these sums are added in float32 with correct rounding,
// because truncated sums would drift with k. Splitting needs finite operands whose parts neither overflow nor
// underflow; a block that meets others computes its tile with plain float32 loops.
template <class Tile_>
struct Tf32x3Products {
  using Element = float;
  using Tile = Tile_;
  float sum[Tile::WARP_TILES_M][Tile::WARP_TILES_N][4] = {};
  bool extreme = false;

  template <int N>
  GPUDL_DEVICE void split(uint32_t (&large)[N], uint32_t (&small)[N], const float (&values)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) {
      extreme |= !splits(values[i]);
      large[i] = (device::bits_of(values[i]) + 0x1000u) & ~0x1fffu;
      small[i] = device::bits_of(values[i] - device::float_of(large[i]));
    }
  }

  template <class A, class B>
  GPUDL_DEVICE void multiply(const float* a_tile, const float* b_tile) {
#pragma unroll
    for (int k = 0; k < Tile::BK; k += 8) {
      uint32_t a_large[Tile::WARP_TILES_M][4], a_small[Tile::WARP_TILES_M][4];
#pragma unroll
      for (int i = 0; i < Tile::WARP_TILES_M; ++i) {
        float values[4];
        load_fragment_a<A>(values, a_tile, i * 16, k);
        split(a_large[i], a_small[i], values);
      }
#pragma unroll
      for (int j = 0; j < Tile::WARP_TILES_N; ++j) {
        float values[2];
        uint32_t b_large[2], b_small[2];
        load_fragment_b<B>(values, b_tile, j * 8, k);
        split(b_large, b_small, values);
#pragma unroll
        for (int i = 0; i < Tile::WARP_TILES_M; ++i) {
          float stage[4] = {};
          device::mma_m16n8k8_tf32(stage, a_small[i], b_large);
          device::mma_m16n8k8_tf32(stage, a_large[i], b_small);
          device::mma_m16n8k8_tf32(stage, a_large[i], b_large);
#pragma unroll
          for (int e = 0; e < 4; ++e) sum[i][j][e] += stage[e];
        }
      }
    }
  }
  GPUDL_DEVICE bool finish() const { return __syncthreads_or(extreme) != 0; }
};
using Tf32x3 = Tf32x3Products<MmaTile<128, 64, 16, 32, 32>>;

}  // namespace gpudl::prim
