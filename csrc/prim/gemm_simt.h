// Matrix products in float32 on CUDA cores.
#pragma once
#include "platform/device.h"
#include "prim/gemm_grid.h"

namespace gpudl::prim {

// A block computes BM x BN of c, a thread TM x TN of it, in quads of four neighbours: rows 4·ty + i of each BM/(TM/4)
// rows, so that a warp reads shared memory without conflicts.
template <int BM_, int BN_, int BK_, int TM_, int TN_>
struct SimtTile {
  static constexpr int BM = BM_, BN = BN_, BK = BK_, TM = TM_, TN = TN_;
  static constexpr int ROWS = BM / TM, COLUMNS = BN / TN, THREADS = ROWS * COLUMNS;
  static constexpr int BLOCKS = 512 / THREADS;  // on a multiprocessor at least: leaves 128 registers a thread
};
using SimtTileLarge = SimtTile<128, 128, 8, 8, 8>;
using SimtTileSmall = SimtTile<32, 32, 16, 4, 4>;

// Elements at .. at+3 of a row; those from `end` on are zero and not read.
GPUDL_DEVICE float4 load_quad(const float* row, int at, int end, bool aligned) {
  if (aligned && at + 4 <= end) return *reinterpret_cast<const float4*>(row + at);
  return make_float4(at < end ? row[at] : 0.f, at + 1 < end ? row[at + 1] : 0.f, at + 2 < end ? row[at + 2] : 0.f,
                     at + 3 < end ? row[at + 3] : 0.f);
}

// Brings tiles of an operand, EXTENT rows of a (or columns of b) by BK, from global to shared memory through registers.
// There they lie k by k, for both orders in memory. K_FAST: k is the fast axis of the stored matrix.
template <int EXTENT, int BK, int THREADS, bool K_FAST>
struct SimtLoader {
  static constexpr int QUADS = EXTENT * BK / 4 / THREADS;
  static constexpr int PER_LINE = (K_FAST ? BK : EXTENT) / 4;  // quads
  static_assert(QUADS * 4 * THREADS == EXTENT * BK, "every thread loads the same number of quads");

  const float* data;
  int64_t stride;
  int extent;  // rows of a, columns of b
  bool aligned;
  float4 quad[QUADS];

  GPUDL_DEVICE void fetch(int first, int k_begin, int k_end) {
#pragma unroll
    for (int q = 0; q < QUADS; ++q) {
      const int index = static_cast<int>(threadIdx.x) + q * THREADS;
      const int line = index / PER_LINE + (K_FAST ? first : k_begin);
      const int at = index % PER_LINE * 4 + (K_FAST ? k_begin : first);
      const bool inside = line < (K_FAST ? extent : k_end);
      quad[q] = inside ? load_quad(data + line * stride, at, K_FAST ? k_end : extent, aligned)
                       : make_float4(0.f, 0.f, 0.f, 0.f);
    }
  }
  GPUDL_DEVICE void store(float (&tile)[BK][EXTENT + 4]) const {
#pragma unroll
    for (int q = 0; q < QUADS; ++q) {
      const int index = static_cast<int>(threadIdx.x) + q * THREADS;
      const int line = index / PER_LINE, at = index % PER_LINE * 4;
      if constexpr (K_FAST) {
        tile[at][line] = quad[q].x;
        tile[at + 1][line] = quad[q].y;
        tile[at + 2][line] = quad[q].z;
        tile[at + 3][line] = quad[q].w;
      } else {
        *reinterpret_cast<float4*>(&tile[line][at]) = quad[q];
      }
    }
  }
};

// The thread's elements of one k of a tile, quad by quad.
template <int N, int THREADS, int EXTENT>
GPUDL_DEVICE void read_quads(float (&values)[N], const float (&line)[EXTENT], int thread) {
#pragma unroll
  for (int q = 0; q < N / 4; ++q) {
    const float4 quad = *reinterpret_cast<const float4*>(&line[(q * THREADS + thread) * 4]);
    values[q * 4] = quad.x;
    values[q * 4 + 1] = quad.y;
    values[q * 4 + 2] = quad.z;
    values[q * 4 + 3] = quad.w;
  }
}

// Grid: GemmGrid. Two buffers: while one tile of each operand is multiplied, the next is on its way in registers.
// A_K_FAST: a is stored (m, k); B_K_FAST: b is stored (n, k). Needs no alignment.
template <class Tile, bool A_K_FAST, bool B_K_FAST, class E>
__global__ void __launch_bounds__(Tile::THREADS, Tile::BLOCKS)
    gemm_simt_kernel(Gemm<float, E> g, GemmGrid grid, bool a_aligned, bool b_aligned) {
  constexpr int BM = Tile::BM, BN = Tile::BN, BK = Tile::BK, TM = Tile::TM, TN = Tile::TN;
  GPUDL_SHARED(float, a_tile, [2][BK][BM + 4]);
  GPUDL_SHARED(float, b_tile, [2][BK][BN + 4]);
  const GemmBlock block = gemm_block(grid, g.k, BM, BN);
  const int tx = threadIdx.x % Tile::COLUMNS, ty = threadIdx.x / Tile::COLUMNS;

  SimtLoader<BM, BK, Tile::THREADS, A_K_FAST> a{
      g.a.data + block.batch * g.a.batch_stride, g.a.row_stride, g.m, a_aligned, {}};
  SimtLoader<BN, BK, Tile::THREADS, B_K_FAST> b{
      g.b.data + block.batch * g.b.batch_stride, g.b.row_stride, g.n, b_aligned, {}};
  float sum[TM][TN] = {};
  a.fetch(block.row, block.k_begin, block.k_end);
  b.fetch(block.column, block.k_begin, block.k_end);
  int buffer = 0;
  for (int k = block.k_begin; k < block.k_end; k += BK, buffer ^= 1) {
    a.store(a_tile[buffer]);
    b.store(b_tile[buffer]);
    __syncthreads();  // the other buffer was read before the barrier of the next round, in which it is written
    if (k + BK < block.k_end) {
      a.fetch(block.row, k + BK, block.k_end);
      b.fetch(block.column, k + BK, block.k_end);
    }
#pragma unroll 2  // more would not fit into the registers
    for (int kk = 0; kk < BK; ++kk) {
      float av[TM], bv[TN];
      read_quads<TM, Tile::ROWS>(av, a_tile[buffer][kk], ty);
      read_quads<TN, Tile::COLUMNS>(bv, b_tile[buffer][kk], tx);
#pragma unroll
      for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j) sum[i][j] += av[i] * bv[j];
    }
  }
#pragma unroll
  for (int i = 0; i < TM; ++i)
#pragma unroll
    for (int j = 0; j < TN; ++j)
      gemm_store(g, grid, block, block.row + (i / 4 * Tile::ROWS + ty) * 4 + i % 4,
                 block.column + (j / 4 * Tile::COLUMNS + tx) * 4 + j % 4, sum[i][j]);
}

template <class Tile, class E>
void gemm_simt_tiled(const Gemm<float, E>& g) {
  const GemmGrid grid = gemm_grid(g, Tile::BM, Tile::BN, Tile::BK);
  constexpr void (*kernels[2][2])(Gemm<float, E>, GemmGrid, bool, bool) = {
      {gemm_simt_kernel<Tile, false, false, E>, gemm_simt_kernel<Tile, false, true, E>},
      {gemm_simt_kernel<Tile, true, false, E>, gemm_simt_kernel<Tile, true, true, E>}};
  gemm_launch(kernels[!g.a.transposed][g.b.transposed], g, grid, Tile::THREADS, 0, gemm_aligned(g.a),
              gemm_aligned(g.b));
}

// Large tiles where they are mostly full and there are enough of them to keep a GPU busy.
template <class E>
void gemm_simt_with(const Gemm<float, E>& g) {
  const bool large = g.m > 64 && g.n > 64 && int64_t{1} * g.m * g.n * g.batch >= 64 * 128 * 128;
  large ? gemm_simt_tiled<SimtTileLarge>(g) : gemm_simt_tiled<SimtTileSmall>(g);
}

}  // namespace gpudl::prim
