// Batch normalisation of any size, backward: one read of dy and x for the two sums of each channel, one more of both
// and one write of dx (and of the residual's gradient). With the activation's bits kept that is 20 bytes an element;
// without, y is read along each time.
#include "core/export.h"
#include "prim/batch_norm.h"

namespace gpudl {
namespace {

using namespace prim;

constexpr int BLOCK = CHUNK_BLOCK, ROWS = CHUNK_ROWS;

// Of four channels: sums of g and of g·(x - mean).
struct Sums {
  float g[4], gx[4];
};

// partial[part] = the sums over the chunks part, part + parts, …: [part][2][channel]. Grid: (parts, tiles).
// sass: batch_norm_gradient_sums_kernel registers<=80
template <bool ALIGNED>
__global__ void __launch_bounds__(BLOCK, 3)
    batch_norm_gradient_sums_kernel(ChannelRows m, Gradient gradient, const float* x, const float* mean,
                                    float* partial) {
  GPUDL_SHARED(Sums, shared, [BLOCK]);
  const ChannelPlace place(m, blockIdx.y);
  const int64_t step = gridDim.x * chunk_of(m);
  Sums mine{};
  if (place.count > 0) {
    const Four center = load_four<ALIGNED>(mean + place.channel, place.count);
    for (int64_t row = blockIdx.x * chunk_of(m) + place.lane; row < m.rows; row += step) {
      Four g[ROWS], values[ROWS];
#pragma unroll
      for (int i = 0; i < ROWS; ++i) {
        const int64_t at = row + i * m.lanes;
        const bool inside = at < m.rows;
        g[i] = inside ? gradient.load<ALIGNED>(m, at, place.channel, place.count) : Four{};
        values[i] = inside ? load_four<ALIGNED>(x + at * m.channels + place.channel, place.count) : Four{};
      }
#pragma unroll
      for (int i = 0; i < ROWS; ++i) {
        if (row + i * m.lanes >= m.rows) continue;
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          mine.g[c] += g[i].at[c];
          mine.gx[c] += g[i].at[c] * (values[i].at[c] - center.at[c]);
        }
      }
    }
  }
  mine = combine_lanes(m, mine, shared, [](Sums a, const Sums& b) {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      a.g[c] += b.g[c];
      a.gx[c] += b.gx[c];
    }
    return a;
  });
  if (place.lane != 0) return;
  float* const out = partial + 2 * static_cast<int64_t>(blockIdx.x) * m.channels + place.channel;
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    if (c >= place.count) continue;
    out[c] = mine.g[c];
    out[m.channels + c] = mine.gx[c];
  }
}

// Adds the parts; the sums are the gradients of bias and weight. Grid: one block per MERGED channels.
constexpr int MERGED = 8;
struct Merge {
  const float *mean, *invstd, *partial;
  float *slopes, *dweight, *dbias;  // slopes: [scale, slope, constant][channel]
  bool training;
};
// sass: batch_norm_gradient_merge_kernel registers<=48
__global__ void __launch_bounds__(BLOCK)
    batch_norm_gradient_merge_kernel(ChannelRows m, Merge to, BackwardVectors vectors, int parts) {
  GPUDL_SHARED(float2, shared, [BLOCK]);
  const int c = blockIdx.x * MERGED + threadIdx.x % MERGED, lane = threadIdx.x / MERGED;
  float2 all = make_float2(0, 0);
  for (int part = lane; part < parts && c < m.channels; part += BLOCK / MERGED) {
    const float* const from = to.partial + 2 * static_cast<int64_t>(part) * m.channels + c;
    all.x += from[0];
    all.y += from[m.channels];
  }
  shared[threadIdx.x] = all;
  for (int half = BLOCK / MERGED / 2; half > 0; half /= 2) {
    __syncthreads();
    if (lane < half) {
      const float2 other = shared[threadIdx.x + half * MERGED];
      shared[threadIdx.x].x += other.x;
      shared[threadIdx.x].y += other.y;
    }
  }
  if (lane != 0 || c >= m.channels) return;
  const float sum_g = shared[threadIdx.x].x, sum_gx = shared[threadIdx.x].y * to.invstd[c];
  if (to.dbias) to.dbias[c] = sum_g;
  if (to.dweight) to.dweight[c] = sum_gx;
  const Slopes made = vectors.slopes(c, to.invstd[c], sum_g, sum_gx, static_cast<float>(m.rows), to.training);
  to.slopes[c] = made.scale;
  to.slopes[m.channels + c] = made.slope;
  to.slopes[2 * m.channels + c] = made.constant;
}

// dx = g·scale + (x - mean)·slope + constant, dresidual = g. Grid: (blocks, tiles), the last chunk of rows first.
// sass: batch_norm_backward_parts_kernel registers<=120
template <bool ALIGNED>
__global__ void __launch_bounds__(BLOCK, 2)
    batch_norm_backward_parts_kernel(ChannelRows m, Gradient gradient, const float* x, const float* mean,
                                     const float* slopes, float* dx, float* dresidual) {
  const ChannelPlace place(m, blockIdx.y);
  const int channel = place.channel, count = place.count;
  if (count == 0) return;
  const Four center = load_four<ALIGNED>(mean + channel, count);
  const Four scale = load_four<ALIGNED>(slopes + channel, count);
  const Four slope = load_four<ALIGNED>(slopes + m.channels + channel, count);
  const Four constant = load_four<ALIGNED>(slopes + 2 * m.channels + channel, count);
  for (int64_t chunk = chunks_of(m) - 1 - blockIdx.x; chunk >= 0; chunk -= gridDim.x) {
    const int64_t first = chunk * chunk_of(m) + place.lane;
    Four g[ROWS], values[ROWS];
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      const int64_t row = first + i * m.lanes;
      if (row >= m.rows) continue;
      g[i] = gradient.load<ALIGNED>(m, row, channel, count);
      if (dx) values[i] = load_four<ALIGNED>(x + row * m.channels + channel, count);
    }
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      const int64_t row = first + i * m.lanes, at = row * m.channels + channel;
      if (row >= m.rows) continue;
      if (dresidual) store_four<ALIGNED>(dresidual + at, g[i], count);
      if (!dx) continue;
#pragma unroll
      for (int c = 0; c < 4; ++c)
        values[i].at[c] = g[i].at[c] * scale.at[c] + ((values[i].at[c] - center.at[c]) * slope.at[c] + constant.at[c]);
      store_four<ALIGNED>(dx + at, values[i], count);
    }
  }
}

using Input = View<const float, 5, nhwc>;
using MaybeOutput = Maybe<View<float, 5, nhwc>>;

// workspace: slopes, then the partial sums: (3 + 2·parts)·C floats.
void batch_norm_backward_parts(Input dy, MaybeVector dmean, MaybeVector dinvstd, Input x, MaybeVector weight,
                               Maybe<Input> y, Vector mean, Vector invstd, Maybe<View<const uint8_t, 2>> mask,
                               MaybeOutput dx, Statistic dweight, Statistic dbias, MaybeOutput dresidual,
                               View<float, 1> workspace, bool training, int activation) {
  const ChannelRows m = ChannelRows::of(x, BLOCK, CHUNK_COLUMNS);
  if (m.channels == 0) return;
  float *const slopes = workspace.data, *const partial = slopes + 3 * static_cast<int64_t>(m.channels);
  const Gradient gradient{dy.data, y.data, mask.data, Activation{activation}};
  const auto aligned = [&](auto... data) { return m.channels % 4 == 0 && (is_aligned<4>(data) && ...); };
  const bool wide = aligned(dy.data, x.data, y.data, mean.data, slopes, dx.data, dresidual.data);
  const bool sums_needed = training || dweight || dbias;
  const int64_t room = (workspace.size() / m.channels - 3) / 2;
  const int parts = sums_needed ? static_cast<int>(std::min(room, chunks_of(m))) : 0;
  const auto sums = wide ? batch_norm_gradient_sums_kernel<true> : batch_norm_gradient_sums_kernel<false>;
  launch(sums, dim3(parts, m.tiles()), BLOCK, 0, m, gradient, x.data, mean.data, partial);
  launch(batch_norm_gradient_merge_kernel, dim3((m.channels + MERGED - 1) / MERGED), BLOCK, 0, m,
         Merge{mean.data, invstd.data, partial, slopes, dweight.data, dbias.data, training},
         BackwardVectors{weight, dmean, dinvstd}, parts);
  if (!dx && !dresidual) return;
  const auto kernel = wide ? batch_norm_backward_parts_kernel<true> : batch_norm_backward_parts_kernel<false>;
  launch(kernel, chunk_grid(m), BLOCK, 0, m, gradient, x.data, mean.data, slopes, dx.data, dresidual.data);
}
GPUDL_EXPORT(batch_norm_backward_parts, dy, dmean, dinvstd, x, weight, y, mean, invstd, mask, dx, dweight, dbias,
             dresidual, workspace, training, activation);

}  // namespace
}  // namespace gpudl
