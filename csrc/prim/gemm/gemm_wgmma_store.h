// Stores of the sums of prim/gemm/gemm_wgmma.h from a warpgroup's registers: directly to memory, or through shared
// memory by TMA.
#pragma once
#include <cstdint>

#include "platform/device.h"
#include "prim/gemm/gemm_grid.h"
#include "prim/gemm/gemm_wgmma_operand.h"

namespace gpudl::prim {

// An epilogue that can compute the new elements of c without writing them.
template <class E>
concept GemmValues = requires(const E& epilogue, float (&value)[4], const float (&sum)[4], const GemmQuad& quad) {
  epilogue.values(value, sum, quad, nullptr, int64_t{}, true);
};

#if GPUDL_HAS_SM90A

// boxes: two boxes of shared memory owned by the warpgroup.
template <class Tile>
struct WgmmaStore {
  using T = typename Tile::T;
  static constexpr int COLUMNS = 128 / sizeof(T);  // per box
  unsigned char* boxes;

  // sum: 64 rows of the block's tile from `first` on, in wgmma's layout.
  template <class G>
  GPUDL_DEVICE void operator()(const G& g, const GemmGrid& grid, const GemmBlock& block, int first,
                               const device::TensorMap& c_map, const float (&sum)[Tile::BN / 2]) const {
    const int warp = static_cast<int>(threadIdx.x) / 32 % 4;
    if constexpr (!Tile::BY_TMA) {
#pragma unroll
      for (int i = 0; i < Tile::BN / 2; i += 4)
        gemm_store_fragment(g, grid, block, block.row + first + warp * 16, block.column + i * 2,
                            {sum[i], sum[i + 1], sum[i + 2], sum[i + 3]});
    } else {
      const int barrier = 1 + static_cast<int>(threadIdx.x) / 128;
#pragma unroll
      for (int box = 0; box < Tile::BN / COLUMNS; ++box) {
        unsigned char* to = boxes + box % 2 * WGMMA_BOX;
        if (threadIdx.x % 128 == 0) device::tma_store_wait_read<1>();  // the last store from this box has read it
        device::named_barrier_sync(barrier, 128);
#pragma unroll
        for (int i = 0; i < COLUMNS / 8; ++i) {
          const int at = box * COLUMNS / 2 + i * 4;
          write(g, grid, block, first + warp * 16, box * COLUMNS, i * 8, to,
                {sum[at], sum[at + 1], sum[at + 2], sum[at + 3]});
        }
        device::fence_async_shared();
        device::named_barrier_sync(barrier, 128);
        if (threadIdx.x % 128 == 0) {
          device::tma_store_3d(&c_map, device::shared_address(to), block.column + box * COLUMNS, block.row + first,
                               block.batch);
          device::tma_store_commit();
        }
      }
    }
  }

  // Call before the block ends.
  GPUDL_DEVICE void end() const {
    if constexpr (Tile::BY_TMA)
      if (threadIdx.x % 128 == 0) device::tma_store_wait<0>();
  }

 private:
  // Write a 16x8 fragment into a box, in TMA's permutation.
  template <class G>
  GPUDL_DEVICE void write(const G& g, const GemmGrid& grid, const GemmBlock& block, int row, int box_column, int column,
                          unsigned char* to, const float (&d)[4]) const {
    const int lane = static_cast<int>(threadIdx.x) % 32;
    float sum[4], value[4];
    quad_of_fragment(sum, d);
    row += lane / 4 + lane % 2 * 8;
    column += lane % 4 / 2 * 4;
    const int c_row = block.row + row, c_column = block.column + box_column + column;
    const GemmQuad quad{block.batch, c_row, c_column, c_row < g.m ? min(4, g.n - c_column) : 0, 2};
    g.epilogue.values(value, sum, quad, g.c.data, g.c.offset(block.batch, c_row) + c_column, grid.c_aligned);
    const int byte = row % 64 * 128 + (column * static_cast<int>(sizeof(T)) ^ row % 8 * 16);
    store_four(reinterpret_cast<T*>(to + byte), value, 4, true);
  }
};

#endif

}  // namespace gpudl::prim
