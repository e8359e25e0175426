// How a matrix product is distributed over blocks (tiles of c, batches, pieces of k), and the second stage that adds
// the pieces.
#pragma once
#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "core/check.h"
#include "platform/device.h"
#include "prim/gemm/gemm.h"
#include "prim/gemm/gemm_operand.h"

namespace gpudl::prim {

// Blocks are numbered by tile column, then tile row, piece of k, batch, in one number because gridDim.y and z are
// small.
struct GemmGrid {
  int tiles_m = 0, tiles_n = 0;
  int pieces = 1;                                    // number of pieces of k
  int piece = 0;                                     // length of a piece
  float* partials = nullptr;                         // (batch, pieces, m, n); null if the kernel writes c itself
  bool c_aligned = false, partials_aligned = false;  // whether four neighbours may be written at once

  int64_t blocks(int batch) const { return int64_t{1} * batch * pieces * tiles_m * tiles_n; }
};

// The part of the product that a block computes.
struct GemmBlock {
  int row, column;     // of its tile in c
  int k_begin, k_end;  // end <= k
  int batch;
  int part;  // index of its partial sums
};

template <class T, class E, class A, class B, class C>
GemmGrid gemm_grid(const Gemm<T, E, A, B, C>& g, int BM, int BN, int BK) {
  constexpr int MOST = 1 << 30;  // beyond this, the end of a tile would not fit an int
  check(std::max({g.m, g.n, g.k}) <= MOST, "gemm",
        "of " + std::to_string(g.m) + " by " + std::to_string(g.n) + " sums of " + std::to_string(g.k) +
            " products: each must be at most 2^30");
  GemmGrid grid{.tiles_m = (g.m + BM - 1) / BM, .tiles_n = (g.n + BN - 1) / BN};
  const int64_t outputs = int64_t{1} * g.m * g.n * g.batch;
  const int64_t room = outputs == 0 ? 0 : g.workspace.size() / outputs;
  check(!g.sum_batches || g.batch <= 1 || room >= 1 || outputs == 0, "workspace",
        "is too small: a sum over batches needs " + std::to_string(outputs) + " elements");
  const int tiles_k = std::max(1, (g.k + BK - 1) / BK);
  const int pieces = static_cast<int>(std::clamp<int64_t>(room, 1, tiles_k));
  grid.piece = (tiles_k + pieces - 1) / pieces * BK;
  grid.pieces = (tiles_k + grid.piece / BK - 1) / (grid.piece / BK);
  if (grid.pieces > 1 || (g.sum_batches && g.batch > 1)) grid.partials = g.workspace.data;
  grid.c_aligned = g.c.aligned() && g.epilogue.aligned();
  grid.partials_aligned = g.n % 4 == 0 && reinterpret_cast<uintptr_t>(grid.partials) % 16 == 0;
  check(grid.blocks(g.batch) <= INT32_MAX, "gemm", "has more tiles than a grid has blocks");
  return grid;
}

GPUDL_DEVICE GemmBlock gemm_block(const GemmGrid& grid, int k, int BM, int BN) {
  unsigned index = blockIdx.x;
  GemmBlock block;
  block.column = static_cast<int>(index % grid.tiles_n) * BN;
  index /= grid.tiles_n;
  block.row = static_cast<int>(index % grid.tiles_m) * BM;
  index /= grid.tiles_m;
  block.part = static_cast<int>(index);
  const int piece = static_cast<int>(index % grid.pieces);
  block.batch = static_cast<int>(index / grid.pieces);
  block.k_begin = min(piece * grid.piece, k);
  block.k_end = min(block.k_begin + grid.piece, k);
  return block;
}

// Store four neighbouring sums: in c through the epilogue, or as partial sums. All lanes of a warp call it together,
// also for rows and columns outside c. neighbour: as in GemmQuad.
template <class T, class E, class A, class B, class C>
GPUDL_DEVICE void gemm_store(const Gemm<T, E, A, B, C>& g, const GemmGrid& grid, const GemmBlock& block, int row,
                             int column, const float (&sum)[4], int neighbour) {
  const int count = row < g.m ? min(4, g.n - column) : 0;
  if (grid.partials == nullptr) {
    const GemmQuad quad{block.batch, row, column, count, neighbour};
    g.epilogue(sum, quad, g.c.data, g.c.offset(block.batch, row) + column, grid.c_aligned);
  } else {
    store_four(grid.partials + (int64_t{1} * block.part * g.m + row) * g.n + column, sum, count, grid.partials_aligned);
  }
}

// Store the 16x8 result of a tensor core whose first element is c[row][column].
template <class T, class E, class A, class B, class C>
GPUDL_DEVICE void gemm_store_fragment(const Gemm<T, E, A, B, C>& g, const GemmGrid& grid, const GemmBlock& block,
                                      int row, int column, const float (&d)[4]) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  float quad[4];
  quad_of_fragment(quad, d);
  gemm_store(g, grid, block, row + lane / 4 + lane % 2 * 8, column + lane % 4 / 2 * 4, quad, 2);
}

constexpr int GEMM_SUM_BLOCK = 256;

// The second stage's view of a product: `parts` partial sums for each of `batch` results.
template <class E, class C>
struct GemmResult {
  int m, n, batch, parts;
  C c;
  E epilogue;
};

// c = epilogue(sum of its partial sums, in order). Grid: one thread per four columns of c, with rows rounded up to
// eight columns.
template <class E, class C>
__global__ void __launch_bounds__(GEMM_SUM_BLOCK) gemm_sum_kernel(GemmResult<E, C> r, GemmGrid grid) {
  const int quads = (r.n + 7) / 8 * 2;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * GEMM_SUM_BLOCK + threadIdx.x;
  const int64_t line = index / quads, outputs = int64_t{1} * r.m * r.n;
  const int batch = static_cast<int>(line / r.m), row = static_cast<int>(line % r.m);
  const int column = static_cast<int>(index % quads) * 4;
  const int count = batch < r.batch ? min(4, r.n - column) : 0;
  const float* partial = grid.partials + batch * r.parts * outputs + int64_t{1} * row * r.n + column;
  float sum[4] = {};
  for (int part = 0; part < r.parts; ++part) {
    float value[4];
    load_four(value, partial + part * outputs, count, grid.partials_aligned);
#pragma unroll
    for (int i = 0; i < 4; ++i) sum[i] += value[i];
  }
  const GemmQuad quad{batch, row, column, count, 1};
  r.epilogue(sum, quad, r.c.data, r.c.offset(batch, row) + column, grid.c_aligned);
}

// The second stage, if there are partial sums.
template <class T, class E, class A, class B, class C>
void gemm_sum(const Gemm<T, E, A, B, C>& g, const GemmGrid& grid) {
  if (grid.partials == nullptr) return;
  const GemmResult<E, C> result{
      g.m, g.n, g.sum_batches ? 1 : g.batch, g.sum_batches ? g.batch * grid.pieces : grid.pieces, g.c, g.epilogue};
  const int64_t quads = int64_t{(g.n + 7) / 8 * 2} * g.m * result.batch;
  launch(gemm_sum_kernel<E, C>, dim3(static_cast<unsigned>((quads + GEMM_SUM_BLOCK - 1) / GEMM_SUM_BLOCK)),
         GEMM_SUM_BLOCK, 0, result, grid);
}

// Run the main kernel over the grid, then the second stage.
template <class T, class E, class A, class B, class C, class... More>
void gemm_launch(void (*kernel)(Gemm<T, E, A, B, C>, GemmGrid, More...), const Gemm<T, E, A, B, C>& g,
                 const GemmGrid& grid, int threads, size_t shared_bytes, const std::type_identity_t<More>&... more) {
  launch(kernel, dim3(static_cast<unsigned>(grid.blocks(g.batch))), dim3(threads), shared_bytes, g, grid, more...);
  gemm_sum(g, grid);
}

}  // namespace gpudl::prim
