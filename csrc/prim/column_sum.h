// Sums over the rows of a matrix, such as the gradient of a bias.
#pragma once
#include <cstdint>

#include "platform/device.h"
#include "prim/gemm.h"

namespace gpudl::prim {

constexpr int COLUMN_SUM_WIDTH = 32;   // columns a block
constexpr int COLUMN_SUM_HEIGHT = 16;  // rows that it reads at once

// y[n] = sum over m of x[m,n]. Grid: one block per WIDTH columns. Block: WIDTH x HEIGHT threads; each adds every
// HEIGHT-th row in order, then a fixed tree, so the bits never change.
template <class T>
__global__ void __launch_bounds__(COLUMN_SUM_WIDTH* COLUMN_SUM_HEIGHT)
    column_sum_kernel(const T* x, int64_t rows, int columns, T* y) {
  GPUDL_SHARED(float, partial, [COLUMN_SUM_HEIGHT][COLUMN_SUM_WIDTH]);
  const int tx = threadIdx.x % COLUMN_SUM_WIDTH, ty = threadIdx.x / COLUMN_SUM_WIDTH;
  const int column = static_cast<int>(blockIdx.x) * COLUMN_SUM_WIDTH + tx;
  float sum = 0;
  if (column < columns)
    for (int64_t row = ty; row < rows; row += COLUMN_SUM_HEIGHT) sum += as_float(x[row * columns + column]);
  partial[ty][tx] = sum;
  __syncthreads();
#pragma unroll
  for (int half = COLUMN_SUM_HEIGHT / 2; half > 0; half /= 2) {
    if (ty < half) partial[ty][tx] += partial[ty + half][tx];
    __syncthreads();
  }
  if (ty == 0 && column < columns) y[column] = from_float<T>(partial[0][tx]);
}

template <class T>
void column_sum(const T* x, int64_t rows, int columns, T* y) {
  launch(column_sum_kernel<T>, dim3(static_cast<unsigned>((columns + COLUMN_SUM_WIDTH - 1) / COLUMN_SUM_WIDTH)),
         COLUMN_SUM_WIDTH * COLUMN_SUM_HEIGHT, 0, x, rows, columns, y);
}

}  // namespace gpudl::prim
