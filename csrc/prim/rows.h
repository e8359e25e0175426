// Work on the rows of a matrix, each by a group of neighbouring threads: 8 lanes for short rows, a warp for medium
// ones, a whole block for long ones.
//
//   template <int WIDTH> __global__ void f_kernel(...) { const prim::Row<WIDTH> row(rows, columns); ... }
//   prim::for_width(columns, [&](auto width) {
//     launch(f_kernel<width()>, prim::blocks_for_rows<width()>(rows), prim::ROW_BLOCK, 0, ...);
//   });
#pragma once
#include <type_traits>

#include "prim/reduce.h"

namespace gpudl::prim {

constexpr int ROW_BLOCK = 256;

// The row of the calling thread. Threads beyond the last row have no columns, but take part in reductions.
template <int WIDTH>
struct Row {
  int64_t index;
  int lane, columns;
  bool inside;

  GPUDL_DEVICE Row(int rows, int row_columns)
      : index(static_cast<int64_t>(blockIdx.x) * (ROW_BLOCK / WIDTH) + threadIdx.x / WIDTH),
        lane(threadIdx.x % WIDTH),
        columns(index < rows ? row_columns : 0),
        inside(index < rows) {}

  // Reduce f(column) over the row in a fixed order; every thread of the group gets the result.
  template <class Combine, class F>
  GPUDL_DEVICE float reduce(Combine combine, float start, F f) const {
    float mine = start;
    for (int c = lane; c < columns; c += WIDTH) mine = combine(mine, f(c));
    return merge(mine, combine);
  }
  // Reduce the values of the group's threads.
  template <class T, class Combine>
  GPUDL_DEVICE T merge(T mine, Combine combine) const {
    if constexpr (WIDTH > 32) return block_reduce<WIDTH>(mine, combine);
    else return warp_reduce<WIDTH>(mine, combine);
  }
  template <class F>
  GPUDL_DEVICE void for_each(F f) const {
    for (int c = lane; c < columns; c += WIDTH) f(c);
  }
};

// log(sum of exp(x)) = maximum + log(scaled), without overflow.
struct LogSum {
  float maximum, scaled;
};
template <int WIDTH>
GPUDL_DEVICE LogSum log_sum(const Row<WIDTH>& row, const float* x) {
  const float maximum = row.reduce(Max{}, -INFINITY, [&](int c) { return x[c]; });
  return {maximum, row.reduce(Sum{}, 0.f, [&](int c) { return expf(x[c] - maximum); })};
}

template <int WIDTH>
dim3 blocks_for_rows(int rows) {
  constexpr int PER_BLOCK = ROW_BLOCK / WIDTH;
  return dim3(static_cast<unsigned>((static_cast<int64_t>(rows) + PER_BLOCK - 1) / PER_BLOCK));
}

// Call run(width) with the number of threads that suits a row of this length, as a compile-time constant.
template <class Run>
void for_width(int columns, Run run) {
  if (columns <= 32) run(std::integral_constant<int, 8>{});
  else if (columns <= 1024) run(std::integral_constant<int, 32>{});
  else run(std::integral_constant<int, ROW_BLOCK>{});
}

}  // namespace gpudl::prim
