// Matrix products in float32 on CUDA cores.
#pragma once
#include "platform/device.h"
#include "prim/gemm/gemm_grid.h"

namespace gpudl::prim {

// A block computes BM x BN of c, each thread TM x TN, in quads of four neighbours: rows 4·ty + i of each BM/(TM/4)
// rows, so that a warp reads shared memory without bank conflicts.
template <int BM_, int BN_, int BK_, int TM_, int TN_>
struct SimtTile {
  static constexpr int BM = BM_, BN = BN_, BK = BK_, TM = TM_, TN = TN_;
  static constexpr int ROWS = BM / TM, COLUMNS = BN / TN, THREADS = ROWS * COLUMNS;
  static constexpr int BLOCKS = 512 / THREADS;  // per multiprocessor, at least: leaves 128 registers per thread
};
using SimtTileLarge = SimtTile<128, 128, 8, 8, 8>;
using SimtTileSmall = SimtTile<32, 32, 16, 4, 4>;

// Loads tiles of an operand, EXTENT rows of a (or columns of b) by BK, from global to shared memory through registers.
// Shared memory is ordered by k first, for both memory orders.
template <class Operand, int EXTENT, int BK, int THREADS>
struct SimtLoader {
  static constexpr bool K_FAST = Operand::K_FAST;
  static constexpr int QUADS = EXTENT * BK / 4 / THREADS;
  static constexpr int PER_LINE = (K_FAST ? BK : EXTENT) / 4;  // quads
  static_assert(QUADS * 4 * THREADS == EXTENT * BK, "every thread loads the same number of quads");

  Operand operand;
  bool aligned;
  typename Operand::Row row[QUADS];
  float4 quad[QUADS];

  // The line of the thread's quad number q, and the position in it.
  static GPUDL_DEVICE int line(int q) { return static_cast<int>(threadIdx.x + q * THREADS) / PER_LINE; }
  static GPUDL_DEVICE int at(int q) { return static_cast<int>(threadIdx.x + q * THREADS) % PER_LINE * 4; }

  GPUDL_DEVICE SimtLoader(const Operand& from, bool is_aligned, int first, int batch)
      : operand(from), aligned(is_aligned) {
#pragma unroll
    for (int q = 0; q < QUADS; ++q) row[q] = operand.row(first + (K_FAST ? line(q) : at(q)), batch);
  }
  GPUDL_DEVICE void fetch(int k_begin, int k_end) {
#pragma unroll
    for (int q = 0; q < QUADS; ++q) quad[q] = load_quad(row[q], k_begin + (K_FAST ? at(q) : line(q)), k_end);
  }
  GPUDL_DEVICE float4 load_quad(const typename Operand::Row& row, int k, int k_end) const {
    int valid = 0;
    const float* from = aligned ? operand.group(row, k, k_end, valid) : nullptr;
    if (valid == 4) return *reinterpret_cast<const float4*>(from);
    const auto value = [&](int i) {
      const float* one = operand.element(row, i, k, k_end);
      return one != nullptr ? *one : 0.f;
    };
    return make_float4(value(0), value(1), value(2), value(3));
  }
  GPUDL_DEVICE void store(float (&tile)[BK][EXTENT + 4]) const {
#pragma unroll
    for (int q = 0; q < QUADS; ++q) {
      if constexpr (K_FAST) {
        float* to = &tile[at(q)][line(q)];
        to[0] = quad[q].x;
        to[EXTENT + 4] = quad[q].y;
        to[2 * (EXTENT + 4)] = quad[q].z;
        to[3 * (EXTENT + 4)] = quad[q].w;
      } else {
        *reinterpret_cast<float4*>(&tile[line(q)][at(q)]) = quad[q];
      }
    }
  }
};

// The thread's elements of one k of a tile, in quads.
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

// Grid: GemmGrid. Double buffering: while one tile of each operand is multiplied, the next is loaded into registers.
// Needs no alignment.
template <class Tile, class E, class A, class B, class C>
__global__ void __launch_bounds__(Tile::THREADS, Tile::BLOCKS)
    gemm_simt_kernel(Gemm<float, E, A, B, C> g, GemmGrid grid, bool a_aligned, bool b_aligned) {
  constexpr int BM = Tile::BM, BN = Tile::BN, BK = Tile::BK, TM = Tile::TM, TN = Tile::TN;
  GPUDL_SHARED(float, a_tile, [2][BK][BM + 4]);
  GPUDL_SHARED(float, b_tile, [2][BK][BN + 4]);
  const GemmBlock block = gemm_block(grid, g.k, BM, BN);

  SimtLoader<A, BM, BK, Tile::THREADS> a(g.a, a_aligned, block.row, block.batch);
  SimtLoader<B, BN, BK, Tile::THREADS> b(g.b, b_aligned, block.column, block.batch);
  float sum[TM][TN] = {};
  a.fetch(block.k_begin, block.k_end);
  b.fetch(block.k_begin, block.k_end);
  for (int k = block.k_begin, buffer = 0; k < block.k_end; k += BK, buffer ^= 1) {
    a.store(a_tile[buffer]);
    b.store(b_tile[buffer]);
    __syncthreads();  // all have read the other buffer before the next iteration's barrier, so that iteration may write
                      // it
    if (k + BK < block.k_end) {
      a.fetch(k + BK, block.k_end);
      b.fetch(k + BK, block.k_end);
    }
#pragma unroll 2  // more would not fit into the registers
    for (int kk = 0; kk < BK; ++kk) {
      float av[TM], bv[TN];
      read_quads<TM, Tile::ROWS>(av, a_tile[buffer][kk], static_cast<int>(threadIdx.x) / Tile::COLUMNS);
      read_quads<TN, Tile::COLUMNS>(bv, b_tile[buffer][kk], static_cast<int>(threadIdx.x) % Tile::COLUMNS);
#pragma unroll
      for (int i = 0; i < TM; ++i)
#pragma unroll
        for (int j = 0; j < TN; ++j) sum[i][j] += av[i] * bv[j];
    }
  }
  const int tx = threadIdx.x % Tile::COLUMNS, ty = threadIdx.x / Tile::COLUMNS;
#pragma unroll
  for (int i = 0; i < TM; ++i)
#pragma unroll
    for (int j = 0; j < TN; j += 4) {
      const float quad[4] = {sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]};
      gemm_store(g, grid, block, block.row + (i / 4 * Tile::ROWS + ty) * 4 + i % 4,
                 block.column + (j / 4 * Tile::COLUMNS + tx) * 4, quad, 1);
    }
}

// Operands: prim/gemm/gemm_operand.h.
template <class Tile, class E, class A, class B, class C>
void gemm_simt_tiled(const Gemm<float, E, A, B, C>& g) {
  gemm_launch(gemm_simt_kernel<Tile, E, A, B, C>, g, gemm_grid(g, Tile::BM, Tile::BN, Tile::BK), Tile::THREADS, 0,
              g.a.aligned(), g.b.aligned());
}

// Tile shapes: 1 small, 2 large. Large tiles if they are mostly full and enough of them keep a GPU busy.
template <class E, class A, class B, class C>
void gemm_simt_run(const Gemm<float, E, A, B, C>& g) {
  const bool busy = g.m > 64 && g.n > 64 && int64_t{1} * g.m * g.n * g.batch >= 64 * 128 * 128;
  const bool large = g.tile_shape == 0 ? busy : g.tile_shape == 2;
  large ? gemm_simt_tiled<SimtTileLarge>(g) : gemm_simt_tiled<SimtTileSmall>(g);
}

// Matrices in any memory order.
template <class E, class C>
void gemm_simt_with(const Gemm<float, E, GemmMatrix<const float>, GemmMatrix<const float>, C>& gemm) {
  with_strided(gemm, [](const auto& g) { gemm_simt_run(g); });
}

}  // namespace gpudl::prim
