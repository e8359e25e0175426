// Rows of a matrix, each read once: a group of neighbouring threads keeps its row in registers, four neighbouring
// columns per thread and step. Rows of more than 4096 columns are streamed instead, from the cache after the first
// pass.
//
//   template <class R> __global__ void f_kernel(int rows, int columns, const float* x, float* y) {
//     const R row(rows, columns);
//     const auto values = row.load(x);
//     float sum = 0;
//     row.each([&](int, float v) { sum += v; }, values);
//     sum = row.reduce(sum, prim::Sum{});
//     row.write(y, [&](int, float v) { return v - sum; }, values);
//   }
//   prim::for_rows_of(columns, [&](auto* kind) {
//     using R = std::remove_pointer_t<decltype(kind)>;
//     launch(f_kernel<R>, R::grid(rows), prim::HELD_BLOCK, 0, rows, columns, x, y);
//   }, x, y);
#pragma once
#include <type_traits>

#include "core/check.h"
#include "prim/channels.h"
#include "prim/reduce.h"

namespace gpudl::prim {

constexpr int HELD_BLOCK = 256;

// Four values per step: of a row in registers, of a row in memory, or one number for all.
template <int STEPS>
struct Held {
  Four step[STEPS];
  template <class R>
  GPUDL_DEVICE Four get(const R&, int i) const {
    return step[i];
  }
};

struct Streamed {
  const float* row;
  float otherwise;  // if row is null
  template <class R>
  GPUDL_DEVICE Four get(const R& r, int i) const {
    if (!row) return {otherwise, otherwise, otherwise, otherwise};
    return load_four<R::aligned>(row + r.column(i), r.columns - r.column(i));
  }
};

// WIDTH threads per row, a power of two from 8 to HELD_BLOCK; STEPS = 0 streams. Threads beyond the last row have no
// columns, but take part in reductions.
template <int WIDTH, int STEPS, bool ALIGNED>
struct HeldRow {
  static constexpr bool aligned = ALIGNED;
  static constexpr int UNROLL = STEPS > 0 ? STEPS : 1;
  int64_t index, start;
  int lane, columns;
  bool inside;

  GPUDL_DEVICE HeldRow(int rows, int row_columns)
      : index(static_cast<int64_t>(blockIdx.x) * (HELD_BLOCK / WIDTH) + threadIdx.x / WIDTH),
        start(index * row_columns),
        lane(threadIdx.x % WIDTH),
        columns(index < rows ? row_columns : 0),
        inside(index < rows) {}

  static dim3 grid(int rows) {
    constexpr int PER_BLOCK = HELD_BLOCK / WIDTH;
    return dim3(static_cast<unsigned>((static_cast<int64_t>(rows) + PER_BLOCK - 1) / PER_BLOCK));
  }

  GPUDL_DEVICE int column(int i) const { return (i * WIDTH + lane) * 4; }
  GPUDL_DEVICE int steps() const { return STEPS > 0 ? STEPS : (columns + 4 * WIDTH - 1) / (4 * WIDTH); }

  // This row of a matrix.
  GPUDL_DEVICE auto load(const float* matrix) const {
    if constexpr (STEPS == 0) {
      return Streamed{matrix + start, 0};
    } else {
      Held<STEPS> held;
#pragma unroll
      for (int i = 0; i < STEPS; ++i)
        held.step[i] =
            column(i) < columns ? load_four<ALIGNED>(matrix + start + column(i), columns - column(i)) : Four{};
      return held;
    }
  }
  // A vector shared by all rows; `otherwise` if it is null.
  GPUDL_DEVICE Streamed vector(const float* data, float otherwise) const { return {data, otherwise}; }

  // Call f(column, values …) for the thread's columns.
  template <class F, class... Values>
  GPUDL_DEVICE void each(F f, const Values&... values) const {
#pragma unroll UNROLL
    for (int i = 0; i < steps(); ++i) {
      const int first = column(i);
      if (first >= columns) continue;
      const auto visit = [&](const auto&... four) {
#pragma unroll
        for (int c = 0; c < 4; ++c)
          if (ALIGNED || first + c < columns) f(first + c, four.at[c]...);
      };
      visit(values.get(*this, i)...);
    }
  }
  // matrix[row, column] = f(column, values …).
  template <class F, class... Values>
  GPUDL_DEVICE void write(float* matrix, F f, const Values&... values) const {
#pragma unroll UNROLL
    for (int i = 0; i < steps(); ++i) {
      const int first = column(i);
      if (first >= columns) continue;
      const auto make = [&](const auto&... four) {
        Four made;
#pragma unroll
        for (int c = 0; c < 4; ++c) made.at[c] = ALIGNED || first + c < columns ? f(first + c, four.at[c]...) : 0.f;
        return made;
      };
      store_four<ALIGNED>(matrix + start + first, make(values.get(*this, i)...), columns - first);
    }
  }
  // Reduce over the group in a fixed tree; every thread gets the result.
  template <class T, class Combine>
  GPUDL_DEVICE T reduce(T mine, Combine combine) const {
    if constexpr (WIDTH > 32) return block_reduce<WIDTH>(mine, combine);
    else return warp_reduce<WIDTH>(mine, combine);
  }
};

// Call run(kind) with a null pointer to the type of row that suits the number of columns.
template <bool ALIGNED, class Run>
void for_columns(int columns, Run run) {
  if (columns <= 32) run(static_cast<HeldRow<8, 1, ALIGNED>*>(nullptr));
  else if (columns <= 128) run(static_cast<HeldRow<32, 1, ALIGNED>*>(nullptr));
  else if (columns <= 512) run(static_cast<HeldRow<32, 4, ALIGNED>*>(nullptr));
  else if (columns <= 1024) run(static_cast<HeldRow<HELD_BLOCK, 1, ALIGNED>*>(nullptr));
  else if (columns <= 4096) run(static_cast<HeldRow<HELD_BLOCK, 4, ALIGNED>*>(nullptr));
  else run(static_cast<HeldRow<HELD_BLOCK, 0, ALIGNED>*>(nullptr));
}

// The same, with 16-byte accesses if all pointers and the length of a row allow them.
template <class Run, class... T>
void for_rows_of(int columns, Run run, const T*... data) {
  check(columns <= INT32_MAX - 4 * HELD_BLOCK, "x", "has rows that are too long: the index of a column would not fit");
  if (columns % 4 == 0 && (is_aligned<4>(data) && ...)) for_columns<true>(columns, run);
  else for_columns<false>(columns, run);
}

}  // namespace gpudl::prim
