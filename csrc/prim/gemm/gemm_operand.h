// Operands of matrix products: `extent` rows of a, or columns of b (both called rows here), by k.
//
//   struct Operand {
//     using Element = T;
//     static constexpr bool K_FAST;  // whether neighbours in memory are neighbours along k, not along the rows
//     struct Row;                    // data of a row computed before the main loop, kept in registers
//     GPUDL_DEVICE Row row(int row, int batch) const;  // for any row; those beyond the extent are empty
//     // The address of a group of G = 16 / sizeof(T) elements: this row at k to k + G - 1 if K_FAST, else rows row to
//     // row + G - 1 at k. Sets `valid` to the number of elements that exist; the rest, and those from k_end on, count
//     // as zeros. Only called if aligned(), with k (or the row) a multiple of G.
//     GPUDL_DEVICE const T* group(const Row& row, int k, int k_end, int& valid) const;
//     // The address of element i of the group, null if it is zero; for any k and row.
//     GPUDL_DEVICE const T* element(const Row& row, int i, int k, int k_end) const;
//     GPUDL_DEVICE const T* anywhere() const;  // any valid address, for copies that read nothing
//     bool aligned() const;                    // host: whether all groups are contiguous and aligned to 16 bytes
//   };
//
// Main loops call row() once per thread and group, group() or element() once per tile, so costly work such as finding a
// pixel belongs in row(). With K_FAST = false, row() is called with every G-th row.
#pragma once
#include <cstdint>

#include "platform/device.h"
#include "prim/gemm/gemm.h"

namespace gpudl::prim {

// Whether rows of the matrix may be read in groups of 16 bytes.
template <class T>
bool gemm_aligned(const GemmMatrix<T>& matrix) {
  constexpr int64_t GROUP = 16 / sizeof(T);
  return reinterpret_cast<uintptr_t>(matrix.data) % 16 == 0 && matrix.row_stride % GROUP == 0 &&
         matrix.batch_stride % GROUP == 0;
}

// A matrix in memory with its order as part of the type.
template <class T, bool K_FAST_>
struct GemmStrided {
  using Element = T;
  static constexpr bool K_FAST = K_FAST_;
  static constexpr int GROUP = 16 / sizeof(T);

  GemmMatrix<const T> matrix;
  int extent;

  // K_FAST: null if the row does not exist. Else `valid` of the group's rows exist.
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

// Call f with the same product, whose operands' memory order is known at compile time.
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
