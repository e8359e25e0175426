// The number of pieces that the sums of a matrix product are split into, and the workspace for them.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/machine.h"

namespace gpudl::prim {

// The number of pieces of k, each multiplied by separate blocks, that minimises the estimated time in waves of blocks;
// one if the result has enough tiles.
//
// Stream-K (Osama et al. 2023) splits only the tiles of the last wave. It would save less than one wave, of products
// with several waves, and needs blocks that wait for each other.
inline int64_t gemm_pieces(int64_t m, int64_t n, int64_t k, int64_t batch) {
  constexpr int64_t TILE = 64, SHORTEST = 128, MOST = 128;  // tile size; least length, greatest number of pieces
  // Overheads in units of the time that a multiprocessor needs for one step of k of a tile (about 8 ns): filling the
  // pipeline of a block, starting the second kernel, writing and reading a partial sum.
  constexpr double START = 64, SECOND_KERNEL = 300, PARTIAL = 3e-4;
  const int64_t tiles = batch * ((m + TILE - 1) / TILE) * ((n + TILE - 1) / TILE);
  const auto time = [&](int64_t pieces) {
    const auto count = [](int64_t number) { return static_cast<double>(number); };
    const double waves = count((tiles * pieces + MULTIPROCESSORS - 1) / MULTIPROCESSORS);
    const double second = pieces > 1 ? SECOND_KERNEL + PARTIAL * count(pieces) * count(batch) * count(m) * count(n) : 0;
    return waves * (count((k + pieces - 1) / pieces) + START) + second;
  };
  int64_t best = 1;
  for (int64_t pieces = 2; pieces <= std::min(k / SHORTEST, MOST); ++pieces)
    if (time(pieces) < time(best)) best = pieces;
  return best;
}

// Elements of the workspace that a Gemm wants: room for the partial sums of all pieces, 0 if one piece is best.
// sum_batches: as in Gemm.
inline int64_t gemm_workspace(int64_t m, int64_t n, int64_t k, int64_t batch = 1, bool sum_batches = false) {
  if (m * n * batch == 0) return 0;
  const int64_t pieces = gemm_pieces(m, n, k, batch);
  return pieces == 1 && !(sum_batches && batch > 1) ? 0 : pieces * batch * m * n;
}

}  // namespace gpudl::prim
