// Sums over the pixels of a batch in two stages, so that the order of additions depends on the shapes alone: each of
// `splits` ranges of pixels leaves its partial sums in the workspace, then every element adds its partials in order.
#pragma once
#include <algorithm>
#include <cstdint>

#include "core/view.h"
#include "platform/device.h"
#include "prim/gemm.h"

namespace gpudl {

constexpr int PIXEL_COLUMNS = 32;  // sums that a block computes side by side
constexpr int PIXEL_LANES = 8;     // threads that share the pixels of one sum

// Pixels [first, last) of one split.
struct PixelRange {
  int64_t first, last;
};

GPUDL_DEVICE PixelRange pixel_range(int64_t pixels, int split, int splits) {
  const int64_t each = (pixels + splits - 1) / splits;
  const int64_t first = each * split;
  return {first, first + each < pixels ? first + each : pixels};
}

// Into how many ranges to cut a sum of pixels, with room for so many partial sums.
inline int channel_splits(int64_t pixels, int64_t room) {
  constexpr int64_t LEAST = 256;  // pixels in a range
  return static_cast<int>(std::max<int64_t>(1, std::min({room, (pixels + LEAST - 1) / LEAST, int64_t{4096}})));
}

// partial[split*stride + k] = sum of dy[m,k] over the split's pixels m; dy is (pixels, K).
// Grid: (K / PIXEL_COLUMNS, splits). Block: PIXEL_COLUMNS channels x PIXEL_LANES; a lane takes every PIXEL_LANES-th
// pixel, then lanes are added in order.
template <class T>
__global__ void channel_sums_kernel(const T* dy, float* partial, int64_t pixels, int K, int64_t stride) {
  GPUDL_SHARED(float, lanes, [PIXEL_LANES][PIXEL_COLUMNS]);
  const int k = blockIdx.x * PIXEL_COLUMNS + threadIdx.x;
  const PixelRange range = pixel_range(pixels, blockIdx.y, gridDim.y);
  float sum = 0;
  if (k < K)
    for (int64_t m = range.first + threadIdx.y; m < range.last; m += PIXEL_LANES) sum += prim::as_float(dy[m * K + k]);
  lanes[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || k >= K) return;
  for (int lane = 1; lane < PIXEL_LANES; ++lane) sum += lanes[lane][threadIdx.x];
  partial[blockIdx.y * stride + k] = sum;
}

// out[i] = sum of partial[split*stride + i] over the splits, in order. Grid: one thread per i.
template <class T>
__global__ void add_splits_kernel(const float* partial, T* out, int64_t n, int splits, int64_t stride) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float sum = 0;
  for (int split = 0; split < splits; ++split) sum += partial[split * stride + i];
  out[i] = prim::from_float<T>(sum);
}

template <class T>
void add_splits(const float* partial, T* out, int64_t n, int splits, int64_t stride) {
  constexpr int BLOCK = 256;
  launch(add_splits_kernel<T>, dim3(static_cast<unsigned>((n + BLOCK - 1) / BLOCK)), BLOCK, 0, partial, out, n, splits,
         stride);
}

// sums[k] = sum over all pixels of dy (pixels, K). workspace: splits * K floats.
template <class T>
void channel_sums(const T* dy, T* sums, int64_t pixels, int K, int splits, float* workspace) {
  const dim3 grid((K + PIXEL_COLUMNS - 1) / PIXEL_COLUMNS, splits);
  launch(channel_sums_kernel<T>, grid, dim3(PIXEL_COLUMNS, PIXEL_LANES), 0, dy, workspace, pixels, K, int64_t{K});
  add_splits(workspace, sums, K, splits, K);
}

}  // namespace gpudl
