// Policies of prim/gemm/gemm_mma.h that compute products of float32 operands from bfloat16 products.
#pragma once
#include "prim/gemm/gemm_mma.h"
#include "prim/gemm/gemm_mma_tf32.h"

namespace gpudl::prim {

// PARTS = 3: x = p0 + p1 + p2, each part the remainder rounded to bfloat16; together they hold all 24 bits of float32.
// The six largest of the nine products of parts are added, from the smallest on. The dropped terms are below 2^-24
// |a||b| and of random sign, because parts are rounded to nearest. Tensor cores truncate, so their sums restart every
// 16 values of k and are added in float32 with correct rounding: they do not drift with k, and small products are not
// lost to large ones summed before. docs/precision.md shows the errors. A block that meets operands whose parts would
// overflow or underflow computes its tile with plain float32 loops. PARTS = 1: operands rounded to bfloat16, 8
// significant bits.
template <int PARTS, class Tile_>
struct SplitProducts {
  using Element = float;
  using Tile = Tile_;
  float sum[Tile::WARP_TILES_M][Tile::WARP_TILES_N][4] = {};
  bool extreme = false;

  // Pack two neighbours along k into one register per part.
  GPUDL_DEVICE void split(uint32_t (&part)[PARTS], float low, float high) {
    if constexpr (PARTS > 1) extreme |= !splits(low) || !splits(high);
#pragma unroll
    for (int p = 0; p < PARTS; ++p) {
      const uint32_t pair = device::pack(device::to_bfloat16(low), device::to_bfloat16(high));
      part[p] = pair;
      low -= device::float_of(pair << 16);
      high -= device::float_of(pair & 0xffff0000u);
    }
  }

  // Fragments of mma m16n8k16 for lane l: a[i] holds a[l/4 + i%2*8][l%4*2 + i/2*8 and the next], b[i] holds
  // b[l%4*2 + i*8 and the next][l/4].
  template <class Operand>
  GPUDL_DEVICE void load(uint32_t (&part)[PARTS], const float* tile, int row, int k) {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    row += lane / 4;
    k += lane % 4 * 2;
    if constexpr (Operand::K_FAST) {
      const float2 pair = *reinterpret_cast<const float2*>(tile + row * Operand::STRIDE + k);
      split(part, pair.x, pair.y);
    } else {
      split(part, tile[k * Operand::STRIDE + row], tile[(k + 1) * Operand::STRIDE + row]);
    }
  }

  template <class A, class B>
  GPUDL_DEVICE void multiply(const float* a_tile, const float* b_tile) {
#pragma unroll
    for (int k = 0; k < Tile::BK; k += 16) {
      uint32_t a[Tile::WARP_TILES_M][4][PARTS];
#pragma unroll
      for (int i = 0; i < Tile::WARP_TILES_M; ++i)
#pragma unroll
        for (int e = 0; e < 4; ++e) load<A>(a[i][e], a_tile, i * 16 + e % 2 * 8, k + e / 2 * 8);
#pragma unroll
      for (int j = 0; j < Tile::WARP_TILES_N; ++j) {
        uint32_t b[2][PARTS];
#pragma unroll
        for (int e = 0; e < 2; ++e) load<B>(b[e], b_tile, j * 8, k + e * 8);
#pragma unroll
        for (int i = 0; i < Tile::WARP_TILES_M; ++i) multiply_parts(sum[i][j], a[i], b);
      }
    }
  }

  static GPUDL_DEVICE void multiply_parts(float (&to)[4], const uint32_t (&a)[4][PARTS],
                                          const uint32_t (&b)[2][PARTS]) {
    float stage[4] = {};
#pragma unroll
    for (int order = PARTS - 1; order >= 0; --order)
#pragma unroll
      for (int p = 0; p <= order; ++p)
        device::mma_m16n8k16_bf16(stage, {a[0][p], a[1][p], a[2][p], a[3][p]}, {b[0][order - p], b[1][order - p]});
#pragma unroll
    for (int e = 0; e < 4; ++e) to[e] += stage[e];
  }
  GPUDL_DEVICE bool finish() const { return PARTS > 1 && __syncthreads_or(extreme) != 0; }
};

using Bf16x6 = SplitProducts<3, MmaTile<128, 64, 16, 32, 32>>;

}  // namespace gpudl::prim
