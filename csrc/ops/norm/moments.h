// Count, mean and sum of squared deviations of a set of numbers: a variance that stays accurate however large the mean.
#pragma once
#include "prim/channels.h"

namespace gpudl::prim {

struct Moments {
  float count, mean, squares;
};

// The moments of a union (Chan, Golub, LeVeque 1979). Commutative only up to rounding: combine in a fixed order.
GPUDL_DEVICE Moments merge(Moments a, Moments b) {
  const float count = a.count + b.count;
  if (count == 0) return a;
  const float distance = b.mean - a.mean, share = __fdividef(b.count, count);
  return {count, a.mean + distance * share, a.squares + b.squares + distance * distance * a.count * share};
}

// The moments of four channels with the same number of rows.
struct FourMoments {
  float count, mean[4], squares[4];

  GPUDL_DEVICE Moments at(int i) const { return {count, mean[i], squares[i]}; }
};

GPUDL_DEVICE FourMoments merge(const FourMoments& a, const FourMoments& b) {
  const float count = a.count + b.count;
  if (count == 0) return a;
  const float share = __fdividef(b.count, count), weight = a.count * share;
  FourMoments all{count, {}, {}};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float distance = b.mean[i] - a.mean[i];
    all.mean[i] = a.mean[i] + distance * share;
    all.squares[i] = a.squares[i] + b.squares[i] + distance * distance * weight;
  }
  return all;
}

// The moments of the rows in chunks part, part + parts, … of x, relative to `origin`. A thread computes the moments of
// four rows in two passes over its registers and merges them into its own.
template <bool ALIGNED>
GPUDL_DEVICE FourMoments moments_of(const ChannelRows& m, const ChannelPlace& place, const float* x, Four origin,
                                    int part, int parts) {
  FourMoments mine{};
  const float* const from = x + place.channel;
  for (int64_t row = part * chunk_of(m) + place.lane; row < m.rows; row += parts * chunk_of(m)) {
    Four values[CHUNK_ROWS];
    float count = 0;
#pragma unroll
    for (int i = 0; i < CHUNK_ROWS; ++i) {
      const int64_t at = row + i * m.lanes;
      values[i] = at < m.rows ? load_four<ALIGNED>(from + at * m.channels, place.count) : origin;
      count += at < m.rows ? 1.f : 0.f;
    }
    FourMoments these{count, {}, {}};
    const float share = __fdividef(1.f, count);
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      float sum = 0, squares = 0;
#pragma unroll
      for (int i = 0; i < CHUNK_ROWS; ++i) sum += values[i].at[c] -= origin.at[c];  // 0 where there is no row
      const float mean = sum * share;
#pragma unroll
      for (int i = 0; i < CHUNK_ROWS; ++i) {
        const float distance = values[i].at[c] - mean;
        squares += static_cast<float>(i) < count ? distance * distance : 0.f;
      }
      these.mean[c] = mean;
      these.squares[c] = squares;
    }
    mine = merge(mine, these);
  }
  return mine;
}

// The number of rows in such a part.
GPUDL_DEVICE int64_t rows_of_part(const ChannelRows& m, int part, int parts) {
  const int64_t chunk = chunk_of(m), chunks = chunks_of(m);
  const int64_t rows = (chunks - part + parts - 1) / parts * chunk;
  return (chunks - 1) % parts == part ? rows - (chunks * chunk - m.rows) : rows;  // the last chunk may be shorter
}

}  // namespace gpudl::prim
