// Sums over the pixels of a batch in two stages, whose order depends only on the shapes: each of `splits` ranges of
// pixels writes partial sums to the workspace, then every element adds its partial sums in order.
#pragma once
#include <algorithm>
#include <cstdint>

#include "platform/device.h"

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

// Number of ranges for a sum over pixels, with room for so many partial sums.
inline int pixel_splits(int64_t pixels, int64_t room) {
  constexpr int64_t LEAST = 256;  // pixels per range
  return static_cast<int>(std::max<int64_t>(1, std::min({room, (pixels + LEAST - 1) / LEAST, int64_t{4096}})));
}

constexpr int SPLITS_BLOCK = 256;

// out[i] = sum of partial[split*n + i] over the splits, in order. Grid: one thread per i < n.
static __global__ void __launch_bounds__(SPLITS_BLOCK)
    add_splits_kernel(const float* partial, float* out, int64_t n, int splits) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * SPLITS_BLOCK + threadIdx.x;
  if (i >= n) return;
  float sum = 0;
  for (int split = 0; split < splits; ++split) sum += partial[split * n + i];
  out[i] = sum;
}

inline void add_splits(const float* partial, float* out, int64_t n, int splits) {
  launch(add_splits_kernel, dim3(static_cast<unsigned>((n + SPLITS_BLOCK - 1) / SPLITS_BLOCK)), SPLITS_BLOCK, 0,
         partial, out, n, splits);
}

}  // namespace gpudl
