// Policies of prim/gemm/gemm_mma.h for 16-bit operands: bfloat16 and float16.
#pragma once
#include <type_traits>

#include "prim/gemm/gemm_mma.h"

namespace gpudl::prim {

// Products of T, which are exact in float32, summed in float32.
template <class T, class Tile_>
struct HalfProducts {
  using Element = T;
  using Tile = Tile_;
  float sum[Tile::WARP_TILES_M][Tile::WARP_TILES_N][4] = {};

  static GPUDL_DEVICE void mma(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    if constexpr (std::is_same_v<T, bfloat16>) device::mma_m16n8k16_bf16(d, a, b);
    else device::mma_m16n8k16_f16(d, a, b);
  }

  // Four 8x8 matrices. `extent` runs over rows of a or columns of b. EXTENT_FIRST: the second matrix advances along it,
  // the third and fourth along k; else the other way round.
  template <class Operand, bool EXTENT_FIRST>
  static GPUDL_DEVICE void load_matrices(uint32_t (&fragment)[4], const T* tile, int extent, int k) {
    const int lane = static_cast<int>(threadIdx.x) % 32, matrix = lane / 8, line = lane % 8;
    extent += (EXTENT_FIRST ? matrix % 2 : matrix / 2) * 8;
    k += (EXTENT_FIRST ? matrix / 2 : matrix % 2) * 8;
    if constexpr (Operand::K_FAST)
      device::ldmatrix_x4(fragment, device::shared_address(tile + (extent + line) * Operand::STRIDE + k));
    else device::ldmatrix_x4_trans(fragment, device::shared_address(tile + (k + line) * Operand::STRIDE + extent));
  }

  template <class A, class B>
  GPUDL_DEVICE void multiply(const T* a_tile, const T* b_tile) {
#pragma unroll
    for (int k = 0; k < Tile::BK; k += 16) {
      uint32_t a[Tile::WARP_TILES_M][4];
#pragma unroll
      for (int i = 0; i < Tile::WARP_TILES_M; ++i) load_matrices<A, true>(a[i], a_tile, i * 16, k);
#pragma unroll
      for (int j = 0; j < Tile::WARP_TILES_N; j += 2) {
        uint32_t b[4];
        load_matrices<B, false>(b, b_tile, j * 8, k);
        const uint32_t left[2] = {b[0], b[1]}, right[2] = {b[2], b[3]};
#pragma unroll
        for (int i = 0; i < Tile::WARP_TILES_M; ++i) {
          mma(sum[i][j], a[i], left);
          mma(sum[i][j + 1], a[i], right);
        }
      }
    }
  }
  GPUDL_DEVICE bool finish() const { return false; }
};

template <class T>
using Half = HalfProducts<T, MmaTile<128, 128, 32, 64, 32>>;

}  // namespace gpudl::prim
