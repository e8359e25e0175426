// How a matrix product is spread over blocks: tiles of c, batches, pieces of k; and the second stage that adds the
// pieces up.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/check.h"
#include "platform/device.h"
#include "prim/gemm.h"

namespace gpudl::prim {

// Blocks are numbered tile column first, then tile row, piece of k, batch: one number, for gridDim.y and z are small.
struct GemmGrid {
  int tiles_m = 0, tiles_n = 0;
  int pieces = 1;             // of k
  int piece = 0;              // its length
  float* partials = nullptr;  // (batch, pieces, m, n); null where the kernel writes c itself

  int64_t blocks(int batch) const { return int64_t{1} * batch * pieces * tiles_m * tiles_n; }
};

// The part of the product that a block computes.
struct GemmBlock {
  int row, column;     // of its tile in c
  int k_begin, k_end;  // end <= k
  int batch;
  int64_t part;  // index of its partial sums
};

template <class T, class E>
GemmGrid gemm_grid(const Gemm<T, E>& g, int BM, int BN, int BK) {
  GemmGrid grid{.tiles_m = (g.m + BM - 1) / BM, .tiles_n = (g.n + BN - 1) / BN};
  const int64_t outputs = int64_t{1} * g.m * g.n * g.batch;
  const int64_t room = outputs == 0 ? 0 : g.workspace.size() / outputs;
  check(!g.sum_batches || g.batch <= 1 || room >= 1 || outputs == 0, "workspace",
        "is too small: a sum over batches needs " + std::to_string(outputs) + " elements");
  const int tiles_k = std::max(1, (g.k + BK - 1) / BK);
  const int pieces = static_cast<int>(std::clamp<int64_t>(room, 1, tiles_k));
  grid.piece = (tiles_k + pieces - 1) / pieces * BK;
  grid.pieces = (tiles_k * BK + grid.piece - 1) / grid.piece;
  if (grid.pieces > 1 || (g.sum_batches && g.batch > 1)) grid.partials = g.workspace.data;
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
  block.part = index;
  const int piece = static_cast<int>(index % grid.pieces);
  block.batch = static_cast<int>(index / grid.pieces);
  block.k_begin = min(piece * grid.piece, k);
  block.k_end = min(block.k_begin + grid.piece, k);
  return block;
}

// Hands one sum to its place: c through the epilogue, or the partial sums.
template <class T, class E>
GPUDL_DEVICE void gemm_store(const Gemm<T, E>& g, const GemmGrid& grid, const GemmBlock& block, int row, int column,
                             float sum) {
  if (row >= g.m || column >= g.n) return;
  if (grid.partials != nullptr) grid.partials[(block.part * g.m + row) * g.n + column] = sum;
  else g.epilogue(sum, row, column, g.c.data[block.batch * g.c.batch_stride + row * g.c.row_stride + column]);
}

constexpr int GEMM_SUM_BLOCK = 256;

// c = epilogue(sum of its partial sums, in their order). Grid: one thread per element of c.
template <class T, class E>
__global__ void __launch_bounds__(GEMM_SUM_BLOCK) gemm_sum_kernel(Gemm<T, E> g, GemmGrid grid) {
  const int64_t outputs = int64_t{1} * g.m * g.n;
  const int64_t index = static_cast<int64_t>(blockIdx.x) * GEMM_SUM_BLOCK + threadIdx.x;
  const int64_t batch = index / outputs, element = index % outputs;
  if (batch >= (g.sum_batches ? 1 : g.batch)) return;
  const int parts = g.sum_batches ? g.batch * grid.pieces : grid.pieces;
  const float* partial = grid.partials + batch * parts * outputs + element;
  float sum = 0;
  for (int part = 0; part < parts; ++part) sum += partial[part * outputs];
  const int row = static_cast<int>(element / g.n), column = static_cast<int>(element % g.n);
  g.epilogue(sum, row, column, g.c.data[batch * g.c.batch_stride + row * g.c.row_stride + column]);
}

// Runs the main kernel over the grid, then the second stage where there are partial sums.
template <class T, class E, class... More>
void gemm_launch(void (*kernel)(Gemm<T, E>, GemmGrid, More...), const Gemm<T, E>& g, const GemmGrid& grid, int threads,
                 size_t shared_bytes, const std::type_identity_t<More>&... more) {
  launch(kernel, dim3(static_cast<unsigned>(grid.blocks(g.batch))), dim3(threads), shared_bytes, g, grid, more...);
  if (grid.partials == nullptr) return;
  const int64_t outputs = int64_t{1} * g.m * g.n * (g.sum_batches ? 1 : g.batch);
  launch(gemm_sum_kernel<T, E>, dim3(static_cast<unsigned>((outputs + GEMM_SUM_BLOCK - 1) / GEMM_SUM_BLOCK)),
         GEMM_SUM_BLOCK, 0, g, grid);
}

// May rows of the matrix be read in groups of 16 bytes?
template <class T>
bool gemm_aligned(const GemmMatrix<T>& matrix) {
  constexpr int64_t GROUP = 16 / sizeof(T);
  return reinterpret_cast<uintptr_t>(matrix.data) % 16 == 0 && matrix.row_stride % GROUP == 0 &&
         matrix.batch_stride % GROUP == 0;
}

}  // namespace gpudl::prim
