// The second stage of sums over rows: adds the first stage's partial sums in a fixed order.
#pragma once
#include <concepts>

#include "prim/channels.h"

namespace gpudl::prim {

// Two sums for each of four columns: four first sums, then four second sums.
using Eight = Pack<float, 8>;

// Store partial[part][first, second][column] of the block's tile, from its lane 0.
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
constexpr int PARTS_COLUMNS = 8;  // columns per block; threads of a column share the parts

// A thread's column, and its number among those that share the parts. Lane 0 gets the sums.
struct PartsPlace {
  int column, lane;
  GPUDL_DEVICE PartsPlace()
      : column(static_cast<int>(blockIdx.x * PARTS_COLUMNS + threadIdx.x % PARTS_COLUMNS)),
        lane(static_cast<int>(threadIdx.x / PARTS_COLUMNS)) {}
};

// Σ partial[part][s][column] for s < SUMS, by the whole block of PARTS_BLOCK threads; shared: one element per thread.
template <int SUMS>
GPUDL_DEVICE Pack<float, SUMS> sum_of_parts(const PartsPlace& place, const float* partial, int parts, int columns,
                                            Pack<float, SUMS>* shared) {
  Pack<float, SUMS> mine{};
  for (int part = place.lane; part < parts && place.column < columns; part += PARTS_BLOCK / PARTS_COLUMNS) {
    const float* const from = partial + SUMS * static_cast<int64_t>(part) * columns + place.column;
#pragma unroll
    for (int s = 0; s < SUMS; ++s) mine.at[s] += from[static_cast<int64_t>(s) * columns];
  }
  shared[threadIdx.x] = mine;
  for (int half = PARTS_BLOCK / PARTS_COLUMNS / 2; half > 0; half /= 2) {
    __syncthreads();
    if (place.lane < half)
      shared[threadIdx.x] = AddPacks{}(shared[threadIdx.x], shared[threadIdx.x + half * PARTS_COLUMNS]);
  }
  return shared[threadIdx.x];
}

// to.at[s][c] = Σ partial[part][s][c]; any pointer may be null. One block per 8 columns.
template <class T, int SUMS>
struct PartsTo {
  T* at[SUMS];
};

template <int SUMS, class T>
__global__ void __launch_bounds__(PARTS_BLOCK)
    add_parts_kernel(const float* partial, int parts, int columns, PartsTo<T, SUMS> to) {
  using Sums = Pack<float, SUMS>;
  GPUDL_SHARED(Sums, shared, [PARTS_BLOCK]);
  const PartsPlace place;
  const Sums sums = sum_of_parts<SUMS>(place, partial, parts, columns, shared);
  if (place.lane != 0 || place.column >= columns) return;
#pragma unroll
  for (int s = 0; s < SUMS; ++s)
    if (to.at[s] != nullptr) to.at[s][place.column] = from_float<T>(sums.at[s]);
}

// first, more: destinations of the sums.
template <class T, std::same_as<T*>... More>
void add_parts(const float* partial, int parts, int columns, T* first, More... more) {
  constexpr int SUMS = 1 + sizeof...(More);
  launch(add_parts_kernel<SUMS, T>, dim3((columns + PARTS_COLUMNS - 1) / PARTS_COLUMNS), PARTS_BLOCK, 0, partial, parts,
         columns, PartsTo<T, SUMS>{first, more...});
}

}  // namespace gpudl::prim
