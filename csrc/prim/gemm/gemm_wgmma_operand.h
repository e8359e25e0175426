// Operands of prim/gemm/gemm_wgmma.h: how TMA loads a stage of them into shared memory, and where wgmma finds it.
//
//   struct Operand {
//     using Element = T;
//     static constexpr bool K_FAST;  // whether k is the fast axis in shared memory, not the rows of a (columns of b)
//     // Called by one thread: load ROWS rows from `row` on, k to k + BK - 1, to the shared address `tile`; the
//     // ROWS · 128 bytes complete on the mbarrier. blocks != 0: for these blocks of the cluster.
//     template <int ROWS>
//     GPUDL_DEVICE void load(uint32_t tile, int row, int k, int batch, uint32_t mbarrier, uint16_t blocks) const;
//   };
//
// It is part of a kernel's argument, because TMA needs the tensor map there. A stage holds 128 bytes of k. In shared
// memory an operand is stored as boxes of 64 lines of 128 bytes with 128-byte swizzle: a line is a row's k if K_FAST,
// else 64 rows at one k. Elements outside the operand are zeros.
#pragma once
#include <cstdint>

#include "platform/device.h"
#include "prim/gemm/gemm.h"
#include "prim/gemm/gemm_operand.h"

namespace gpudl::prim {

constexpr int WGMMA_BOX = 64 * 128;  // bytes

#if GPUDL_HAS_SM90A
// Called by one thread. blocks != 0: for these blocks of the cluster.
GPUDL_DEVICE void wgmma_load_box(uint32_t to, const device::TensorMap& map, int x, int y, int z, uint32_t mbarrier,
                                 uint16_t blocks) {
  if (blocks == 0) device::tma_load_3d(to, &map, x, y, z, mbarrier);
  else device::tma_load_3d_multicast(to, &map, x, y, z, mbarrier, blocks);
}
#endif

// A stack of matrices in memory. The map's boxes are {BK, rows of a load} or {64, BK}.
template <class T, bool K_FAST_>
struct WgmmaMatrix {
  using Element = T;
  static constexpr bool K_FAST = K_FAST_;
  static_assert(sizeof(T) == 2 || K_FAST, "wgmma takes TF32 operands only with k as the fast axis");

  device::TensorMap map;
  bool stacked;  // false: one matrix serves all batches

#if GPUDL_HAS_SM90A
  template <int ROWS>
  GPUDL_DEVICE void load(uint32_t tile, int row, int k, int batch, uint32_t mbarrier, uint16_t blocks) const {
    const int matrix = stacked ? batch : 0;
    if constexpr (K_FAST) {
      wgmma_load_box(tile, map, k, row, matrix, mbarrier, blocks);
    } else {
#pragma unroll
      for (int i = 0; i < ROWS / 64; ++i)
        wgmma_load_box(tile + i * WGMMA_BOX, map, row + i * 64, k, matrix, mbarrier, blocks);
    }
  }
#endif
};

// The tensor map of rows x columns; a box has `lines` rows of 128 bytes.
template <class T>
device::TensorMap wgmma_map(const T* data, int rows, int columns, int64_t row_stride, int batch, int64_t batch_stride,
                            int lines) {
  const bool one = batch == 1 || batch_stride == 0;
  const int64_t extent[3] = {columns, rows, one ? 1 : batch};
  const int64_t stride[3] = {1, row_stride, one ? row_stride * rows : batch_stride};
  const int box[3] = {128 / static_cast<int>(sizeof(T)), lines, 1};
  return device::make_tensor_map(data, extent, stride, box, device::Swizzle::bytes128);
}

// The operand for a matrix in memory, loaded ROWS rows at a time.
template <int ROWS, class T, bool K_FAST>
WgmmaMatrix<T, K_FAST> wgmma_operand(const GemmStrided<T, K_FAST>& x, int k, int batch) {
  const auto& m = x.matrix;
  constexpr int BK = 128 / static_cast<int>(sizeof(T));
  return {K_FAST ? wgmma_map(m.data, x.extent, k, m.row_stride, batch, m.batch_stride, ROWS)
                 : wgmma_map(m.data, k, x.extent, m.row_stride, batch, m.batch_stride, BK),
          m.batch_stride != 0 && batch > 1};
}

// wgmma's descriptor for step `step` of four along k, starting at box `box` of 64 rows.
template <bool K_FAST>
GPUDL_DEVICE uint64_t wgmma_operand_words(uint32_t tile, int box, int step) {
  const uint32_t start = tile + static_cast<uint32_t>(box * WGMMA_BOX);
  if constexpr (K_FAST) return device::wgmma_descriptor_k_major_128b(start + step * 32);
  else return device::wgmma_descriptor_mn_major_128b(start + step * 16 * 128, WGMMA_BOX);
}

}  // namespace gpudl::prim
