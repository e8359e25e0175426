// Batch normalisation of any size, backward: one read of dy and x for the two sums of each channel, another read of
// both and one write of dx (and of the residual's gradient). With the activation's bits that is 20 bytes per element;
// without them, both passes also read y.
#include "core/export.h"
#include "ops/norm/batch_norm.h"
#include "prim/column_parts.h"

namespace gpudl {
namespace {

using namespace prim;

constexpr int BLOCK = CHUNK_BLOCK, ROWS = CHUNK_ROWS;

// partial[part] = the sums over the chunks part, part + parts, …: [part][2][channel]. Grid: (parts, tiles).
// sass: batch_norm_gradient_sums_kernel registers<=80
template <bool ALIGNED>
__global__ void __launch_bounds__(BLOCK, 3)
    batch_norm_gradient_sums_kernel(ChannelRows m, Gradient gradient, const float* x, const float* mean,
                                    float* partial) {
  GPUDL_SHARED(Eight, shared, [BLOCK]);
  const ChannelPlace place(m, blockIdx.y);
  const int64_t step = gridDim.x * chunk_of(m);
  Eight mine{};  // Σ g and Σ g·(x - mean)
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
          mine.at[c] += g[i].at[c];
          mine.at[4 + c] += g[i].at[c] * (values[i].at[c] - center.at[c]);
        }
      }
    }
  }
  store_partial(m, place, combine_lanes(m, mine, shared, AddPacks{}), partial, blockIdx.x);
}

// Add the parts; the sums are the gradients of bias and weight. Grid: one block per PARTS_COLUMNS channels.
struct Merge {
  const float *mean, *invstd, *partial;
  float *slopes, *dweight, *dbias;  // slopes: [scale, slope, constant][channel]
  bool training;
};
// sass: batch_norm_gradient_merge_kernel registers<=48
__global__ void __launch_bounds__(PARTS_BLOCK)
    batch_norm_gradient_merge_kernel(ChannelRows m, Merge to, BackwardVectors vectors, int parts) {
  using Two = Pack<float, 2>;
  GPUDL_SHARED(Two, shared, [PARTS_BLOCK]);
  const PartsPlace place;
  const Two sums = sum_of_parts<2>(place, to.partial, parts, m.channels, shared);
  const int c = place.column;
  if (place.lane != 0 || c >= m.channels) return;
  const float sum_g = sums.at[0], sum_gx = sums.at[1] * to.invstd[c];
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

void batch_norm_backward_parts(Input dy, MaybeVector dmean, MaybeVector dinvstd, Input x, MaybeVector weight,
                               Maybe<Input> y, Vector mean, Vector invstd, Maybe<View<const uint8_t, 2>> mask,
                               MaybeOutput dx, Statistic dweight, Statistic dbias, MaybeOutput dresidual,
                               View<float, 1> workspace, bool training, int activation) {
  const ChannelRows m = ChannelRows::of(x, BLOCK, CHUNK_COLUMNS);
  if (m.channels == 0) return;
  float *const slopes = workspace.data, *const partial = slopes + 3 * static_cast<int64_t>(m.channels);
  const Gradient gradient{dy.data, y.data, mask.data, NormActivation{activation}};
  const auto aligned = [&](auto... data) { return m.channels % 4 == 0 && (is_aligned<4>(data) && ...); };
  const bool wide = aligned(dy.data, x.data, y.data, mean.data, slopes, dx.data, dresidual.data);
  const bool sums_needed = training || dweight || dbias;
  const int64_t room = (workspace.size() / m.channels - 3) / 2;
  const int parts = sums_needed ? static_cast<int>(std::min(room, chunks_of(m))) : 0;
  const auto sums = wide ? batch_norm_gradient_sums_kernel<true> : batch_norm_gradient_sums_kernel<false>;
  launch(sums, dim3(parts, m.tile_rows()), BLOCK, 0, m, gradient, x.data, mean.data, partial);
  launch(batch_norm_gradient_merge_kernel, dim3((m.channels + PARTS_COLUMNS - 1) / PARTS_COLUMNS), PARTS_BLOCK, 0, m,
         Merge{mean.data, invstd.data, partial, slopes, dweight.data, dbias.data, training},
         BackwardVectors{weight, dmean, dinvstd}, parts);
  if (!dx && !dresidual) return;
  const auto kernel = wide ? batch_norm_backward_parts_kernel<true> : batch_norm_backward_parts_kernel<false>;
  launch(kernel, chunk_grid(m), BLOCK, 0, m, gradient, x.data, mean.data, slopes, dx.data, dresidual.data);
}

// The slopes and the partial sums.
int64_t batch_norm_backward_workspace(Input x) { return (3 + 2 * batch_norm_parts(x)) * x.dim[4]; }
GPUDL_EXPORT(batch_norm, backward, parts, dy, dmean, dinvstd, x, weight, y, mean, invstd, mask, dx, dweight, dbias,
             dresidual, workspace, training, activation)
    .workspace<batch_norm_backward_workspace>("x");

}  // namespace
}  // namespace gpudl
