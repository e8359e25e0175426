// Operands of matrix products: `extent` rows of a, or columns of b (here both are called rows), by k.
//
//   struct Operand {
//     using Element = T;
//     static constexpr bool K_FAST;  // neighbours in memory are neighbours along k, else along the rows
//     struct Row;                    // what is known of a row before the main loop; kept in registers
//     GPUDL_DEVICE Row row(int row, int batch) const;  // of any row; those from the extent on hold nothing
//     // Where the group of G = 16 / sizeof(T) elements begins: of this row at k to k + G - 1 if K_FAST, else of rows
//     // row to row + G - 1 at k. `valid` becomes how many of them there are, the rest counts as zeros; k_end: elements
//     // from there on are zeros too. Only called if aligned() held, with k (or the row) a multiple of G.
//     GPUDL_DEVICE const T* group(const Row& row, int k, int k_end, int& valid) const;
//     // Its element number i alone, null if that is a zero: for any k and row.
//     GPUDL_DEVICE const T* element(const Row& row, int i, int k, int k_end) const;
//     GPUDL_DEVICE const T* anywhere() const;  // any address that may be named where nothing is read
//     bool aligned() const;                    // host: are all groups at multiples of 16 bytes, in one piece?
//   };
//
// Main loops call row() once a thread and group of a tile, group() or element() once a tile: what is costly, such as
// finding a pixel, belongs into row(). K_FAST = false calls row() with every G-th row.
#pragma once
#include <cstdint>

#include "platform/device.h"
#include "prim/gemm/gemm.h"

namespace gpudl::prim {

// May rows of the matrix be read in groups of 16 bytes?
template <class T>
bool gemm_aligned(const GemmMatrix<T>& matrix) {
  constexpr int64_t GROUP = 16 / sizeof(T);
  return reinterpret_cast<uintptr_t>(matrix.data) % 16 == 0 && matrix.row_stride % GROUP == 0 &&
         matrix.batch_stride % GROUP == 0;
}

// A matrix in memory, whose order is part of its type.
template <class T, bool K_FAST_>
struct GemmStrided {
  using Element = T;
  static constexpr bool K_FAST = K_FAST_;
  static constexpr int GROUP = 16 / sizeof(T);

  GemmMatrix<const T> matrix;
  int extent;

  // K_FAST: null where there is no such row. Else `valid` of the group's rows are there.
  struct Row {
    const T* from;
    int valid;
  };
  GPUDL_DEVICE Row row(int row, int batch) const {
    const T* first = matrix.data + batch * matrix.batch_stride;
    if constexpr (K_FAST) return {row < extent ? first + row * matrix.row_stride : nullptr, 0};
    else return {first + row, max(0, min(GROUP, extent - row))};
  }
  GPUDL_DEVICE const T* group(const Row& row, int k, int k_end, int& valid) const {
    if constexpr (K_FAST) {
      valid = row.from != nullptr ? max(0, min(GROUP, k_end - k)) : 0;
      return valid > 0 ? row.from + k : nullptr;
    } else {
      valid = k < k_end ? row.valid : 0;
      return row.from + k * matrix.row_stride;
    }
  }
  GPUDL_DEVICE const T* element(const Row& row, int i, int k, int k_end) const {
    int valid;
    const T* from = group(row, k, k_end, valid);
    return i < valid ? from + i : nullptr;
  }
  GPUDL_DEVICE const T* anywhere() const { return matrix.data; }
  bool aligned() const { return gemm_aligned(matrix); }
};

// f(the same product with operands whose order in memory is known to the compiler).
template <class T, class E, class C, class F>
void with_strided(const Gemm<T, E, GemmMatrix<const T>, GemmMatrix<const T>, C>& g, F f) {
  const auto with = [&]<bool A_K_FAST, bool B_K_FAST>() {
    f(Gemm<T, E, GemmStrided<T, A_K_FAST>, GemmStrided<T, B_K_FAST>, C>{
        g.m, g.n, g.k, g.batch, {g.a, g.m}, {g.b, g.n}, g.c, g.epilogue, g.sum_batches, g.workspace, g.tile_shape});
  };
  if (g.a.transposed)
    g.b.transposed ? with.template operator()<false, true>() : with.template operator()<false, false>();
  else g.b.transposed ? with.template operator()<true, true>() : with.template operator()<true, false>();
}

}  // namespace gpudl::prim
