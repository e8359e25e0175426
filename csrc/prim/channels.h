// Channels-last activations, or (N,C) batches, as a matrix: a row per position (n,…,h,w), a column per channel.
//
// A thread processes four neighbouring channels, in one 16-byte access if the number of channels is a multiple of four
// and the arrays are aligned to 16 bytes (ALIGNED), else one by one. A block has `columns` such threads side by side
// and processes `lanes` rows at a time; neighbouring threads hold neighbouring channels.
#pragma once
#include <algorithm>
#include <cstdint>
#include <string>

#include "core/check.h"
#include "core/view.h"
#include "platform/device.h"
#include "prim/elementwise.h"

namespace gpudl::prim {

using Four = Pack<float, 4>;

template <bool ALIGNED>
GPUDL_DEVICE Four load_four(const float* at, int count) {
  if constexpr (ALIGNED) {
    return load_pack<4>(at);
  } else {
    Four four{};
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (i < count) four.at[i] = at[i];
    return four;
  }
}

template <bool ALIGNED>
GPUDL_DEVICE void store_four(float* at, const Four& four, int count) {
  if constexpr (ALIGNED) {
    store_pack<4>(at, four);
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      if (i < count) at[i] = four.at[i];
  }
}

struct ChannelRows {
  int64_t rows;
  int channels, columns, lanes;

  // Tiles of up to `most` threads side by side; an even number if pairs of threads share a byte of a bit mask.
  template <class T, int RANK, Layout LAYOUT>
  static ChannelRows of(const View<T, RANK, LAYOUT>& x, int block, int most) {
    const int channels = x.dim[RANK - 1], fours = std::max(1, (channels + 3) / 4);
    const int tiles = (fours + most - 1) / most;
    int columns = (fours + tiles - 1) / tiles;
    if (columns > 1) columns += columns % 2;
    return {channels ? x.size() / channels : 0, channels, columns, block / columns};
  }
  GPUDL_HD int tiles() const { return (channels + 4 * columns - 1) / (4 * columns); }
  // The tiles as gridDim.y, which has a limit.
  unsigned tile_rows() const {
    constexpr int MOST = 65535;
    check(tiles() <= MOST, "x",
          "has " + std::to_string(channels) + " channels; at most " + std::to_string(4 * MOST * columns) +
              " are supported");
    return static_cast<unsigned>(tiles());
  }
};

// Kernels for any number of rows: a block processes a chunk of them at a time, four rows per thread.
constexpr int CHUNK_BLOCK = 256;
constexpr int CHUNK_COLUMNS = 32;       // most threads side by side
constexpr int CHUNK_ROWS = 4;           // rows that a thread loads at once
constexpr int CHUNK_MAX_BLOCKS = 4096;  // beyond that, blocks take more chunks and read per-channel data once

GPUDL_HD inline int64_t chunk_of(const ChannelRows& m) { return static_cast<int64_t>(m.lanes) * CHUNK_ROWS; }
GPUDL_HD inline int64_t chunks_of(const ChannelRows& m) { return (m.rows + chunk_of(m) - 1) / chunk_of(m); }

// Grid of an elementwise pass: (blocks, tiles); a block takes every gridDim.x-th chunk.
inline dim3 chunk_grid(const ChannelRows& m) {
  const int64_t most = std::max(1, CHUNK_MAX_BLOCKS / m.tiles());
  return dim3(static_cast<unsigned>(std::min(chunks_of(m), most)), m.tile_rows());
}

// A thread's place: its first channel, how many of its four exist (0: no work), its first row.
struct ChannelPlace {
  int channel, count, lane;
  GPUDL_DEVICE ChannelPlace(const ChannelRows& m, int tile)
      : channel((tile * m.columns + static_cast<int>(threadIdx.x) % m.columns) * 4),
        count(m.channels - channel),
        lane(static_cast<int>(threadIdx.x) / m.columns) {
    count = lane >= m.lanes || count < 0 ? 0 : count > 4 ? 4 : count;
  }
};

// Combine the values of all lanes of a column in a fixed tree; every thread gets its column's result. The whole block
// takes part. shared: one T per thread.
template <class T, class Combine>
GPUDL_DEVICE T combine_lanes(const ChannelRows& m, T mine, T* shared, Combine combine) {
  const int column = static_cast<int>(threadIdx.x) % m.columns, lane = static_cast<int>(threadIdx.x) / m.columns;
  __syncthreads();  // an earlier call's readers are done
  shared[threadIdx.x] = mine;
  for (int left = m.lanes; left > 1;) {
    const int half = (left + 1) / 2;
    __syncthreads();
    if (lane < left - half) shared[threadIdx.x] = combine(shared[threadIdx.x], shared[threadIdx.x + half * m.columns]);
    left = half;
  }
  __syncthreads();
  return shared[column];
}

// Store one bit per element, in (rows, channels/8) bytes: bit c%8 of byte c/8. Needs a multiple of 8 channels, so that
// two neighbouring threads hold one byte. All threads of the warp take part.
GPUDL_DEVICE void store_bits(uint8_t* mask, const ChannelRows& m, int64_t row, int channel, unsigned bits,
                             bool inside) {
  const unsigned other = __shfl_xor_sync(~0u, bits, 1);
  if (inside && channel % 8 == 0) mask[row * (m.channels / 8) + channel / 8] = static_cast<uint8_t>(bits | other << 4);
}

GPUDL_DEVICE unsigned load_bits(const uint8_t* mask, const ChannelRows& m, int64_t row, int channel) {
  return mask[row * (m.channels / 8) + channel / 8] >> (channel % 8);
}

}  // namespace gpudl::prim
