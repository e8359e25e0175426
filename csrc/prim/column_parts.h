// The second stage of sums over rows: adds what the blocks of the first left, in a fixed order.
#pragma once
#include "prim/channels.h"

namespace gpudl::prim {

// Two sums for each of four columns.
using Eight = Pack<float, 8>;

struct AddEight {
  GPUDL_DEVICE Eight operator()(Eight a, const Eight& b) const {
#pragma unroll
    for (int c = 0; c < 8; ++c) a.at[c] += b.at[c];
    return a;
  }
};

// partial[part][first, second][column] of the block's tile, from its lane 0.
GPUDL_DEVICE void store_partial(const ChannelRows& m, const ChannelPlace& place, const Eight& sums, float* partial,
                                int64_t part) {
  if (place.lane != 0) return;
  float* const out = partial + 2 * part * m.channels + place.channel;
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    if (c >= place.count) continue;
    out[c] = sums.at[c];
    out[m.channels + c] = sums.at[4 + c];
  }
}

constexpr int PARTS_BLOCK = 256;
constexpr int PARTS_COLUMNS = 8;  // that a block takes; its other threads share the parts

// first[c] = Σ partial[part][0][c], second[c] = Σ partial[part][1][c]; either may be null. One block per 8 columns.
static __global__ void __launch_bounds__(PARTS_BLOCK)
    add_parts_kernel(const float* partial, int parts, int columns, float* first, float* second) {
  GPUDL_SHARED(float2, shared, [PARTS_BLOCK]);
  const int c = blockIdx.x * PARTS_COLUMNS + threadIdx.x % PARTS_COLUMNS, lane = threadIdx.x / PARTS_COLUMNS;
  float2 mine = make_float2(0, 0);
  for (int part = lane; part < parts && c < columns; part += PARTS_BLOCK / PARTS_COLUMNS) {
    const float* const from = partial + 2 * static_cast<int64_t>(part) * columns + c;
    mine.x += from[0];
    mine.y += from[columns];
  }
  shared[threadIdx.x] = mine;
  for (int half = PARTS_BLOCK / PARTS_COLUMNS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (lane >= half) continue;
    const float2 other = shared[threadIdx.x + half * PARTS_COLUMNS];
    shared[threadIdx.x].x += other.x;
    shared[threadIdx.x].y += other.y;
  }
  if (lane != 0 || c >= columns) return;
  if (first) first[c] = shared[threadIdx.x].x;
  if (second) second[c] = shared[threadIdx.x].y;
}

inline void add_parts(const float* partial, int parts, int columns, float* first, float* second) {
  launch(add_parts_kernel, dim3((columns + PARTS_COLUMNS - 1) / PARTS_COLUMNS), PARTS_BLOCK, 0, partial, parts, columns,
         first, second);
}

}  // namespace gpudl::prim
