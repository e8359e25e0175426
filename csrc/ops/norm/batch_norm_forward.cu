// Batch normalisation of any size, forward: one read of x for the statistics, then one read of x (and of the residual)
// and one write of y, plus one bit per element if backward needs the activation's mask. It is bound by memory traffic:
// 12 bytes per element, 16 with a residual.
//
// Sums over rows have a fixed order (a thread's own rows, the lanes of a block in a tree, the parts), so no bit depends
// on timing. Blocks take chunks of rows in turn, and the second pass goes backwards, because the rows read last by the
// first pass are still in the cache.
#include "core/export.h"
#include "ops/norm/batch_norm.h"
#include "ops/norm/moments.h"

namespace gpudl {
namespace {

using namespace prim;

constexpr int BLOCK = CHUNK_BLOCK, ROWS = CHUNK_ROWS;

// partial[part] = moments of each channel over the chunks part, part + parts, …: [part][mean, squares][channel].
// Grid: (parts, tiles). All numbers are relative to the channel's first value, which keeps the variance accurate when
// the mean is thousands of times larger.
// sass: batch_norm_statistics_kernel registers<=80
template <bool ALIGNED>
__global__ void __launch_bounds__(BLOCK, 3)
    batch_norm_statistics_kernel(ChannelRows m, const float* x, float* partial, Running running) {
  GPUDL_SHARED(FourMoments, shared, [BLOCK]);
  if (blockIdx.x == 0 && blockIdx.y == 0 && threadIdx.x == 0) running.count();
  const ChannelPlace place(m, blockIdx.y);
  FourMoments mine{};
  if (place.count > 0) {
    const Four origin = load_four<ALIGNED>(x + place.channel, place.count);
    mine = moments_of<ALIGNED>(m, place, x, origin, blockIdx.x, gridDim.x);
  }
  mine = combine_lanes(m, mine, shared, [](const FourMoments& a, const FourMoments& b) { return merge(a, b); });
  if (place.lane != 0) return;
  float* const out = partial + 2 * static_cast<int64_t>(blockIdx.x) * m.channels + place.channel;
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    if (c >= place.count) continue;
    out[c] = mine.mean[c];
    out[m.channels + c] = mine.squares[c];
  }
}

// y = (x - mean)·scale + shift.
struct Coefficients {
  float *mean, *invstd, *scale, *shift;
  MaybeVector weight, bias;

  GPUDL_DEVICE void write(int c, float mean_of_c, float var, float eps) const {
    const float inverse = __fdiv_rn(1.f, __fsqrt_rn(var + eps));
    mean[c] = mean_of_c;
    invstd[c] = inverse;
    scale[c] = weight ? inverse * weight(c) : inverse;
    shift[c] = bias ? bias(c) : 0.f;
  }
};

// Merge the parts: the lanes of a block take them in turn, then a tree combines the lanes.
// Grid: one block per MERGED channels. Block: MERGED channels × BLOCK/MERGED lanes.
constexpr int MERGED = 8;
// sass: batch_norm_merge_kernel registers<=48
__global__ void __launch_bounds__(BLOCK)
    batch_norm_merge_kernel(ChannelRows m, const float* x, const float* partial, int parts, float eps, Coefficients to,
                            Running running) {
  GPUDL_SHARED(Moments, shared, [BLOCK]);
  const int c = blockIdx.x * MERGED + threadIdx.x % MERGED, lane = threadIdx.x / MERGED;
  Moments all{0, 0, 0};
  for (int part = lane; part < parts && c < m.channels; part += BLOCK / MERGED) {
    const int64_t rows = rows_of_part(m, part, parts);
    const float* const from = partial + 2 * static_cast<int64_t>(part) * m.channels + c;
    all = merge(all, {static_cast<float>(rows), from[0], from[m.channels]});
  }
  shared[threadIdx.x] = all;
  for (int half = BLOCK / MERGED / 2; half > 0; half /= 2) {
    __syncthreads();
    if (lane < half) shared[threadIdx.x] = merge(shared[threadIdx.x], shared[threadIdx.x + half * MERGED]);
  }
  if (lane != 0 || c >= m.channels) return;
  all = shared[threadIdx.x];
  const float mean = x[c] + all.mean;
  to.write(c, mean, all.squares / all.count, eps);
  running.update(c, mean, all.squares, all.count);
}

// Inference: use the running statistics instead of the batch's. One thread per channel.
__global__ void __launch_bounds__(BLOCK)
    batch_norm_running_kernel(int channels, Running running, float eps, Coefficients to) {
  const int c = blockIdx.x * BLOCK + threadIdx.x;
  if (c < channels) to.write(c, running.mean[c], running.var[c], eps);
}

// y = activation((x - mean)·scale + shift + residual), and the activation's bits. Grid: (blocks, tiles); a block takes
// every gridDim.x-th chunk of rows, from last to first.
// sass: batch_norm_forward_parts_kernel registers<=80
template <bool ALIGNED, bool RESIDUAL>
__global__ void __launch_bounds__(BLOCK, 3)
    batch_norm_forward_parts_kernel(ChannelRows m, const float* x, const float* residual, Coefficients per, float* y,
                                    uint8_t* mask, NormActivation activation) {
  const ChannelPlace place(m, blockIdx.y);
  const int channel = place.channel, count = place.count;
  Four center{}, scale{}, shift{};
  if (count > 0) {
    center = load_four<ALIGNED>(per.mean + channel, count);
    scale = load_four<ALIGNED>(per.scale + channel, count);
    shift = load_four<ALIGNED>(per.shift + channel, count);
  }
  for (int64_t chunk = chunks_of(m) - 1 - blockIdx.x; chunk >= 0; chunk -= gridDim.x) {
    const int64_t first = chunk * chunk_of(m) + place.lane;
    Four values[ROWS], added[RESIDUAL ? ROWS : 1];
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      const int64_t row = first + i * m.lanes, at = row * m.channels + channel;
      if (count == 0 || row >= m.rows) continue;
      values[i] = load_four<ALIGNED>(x + at, count);
      if constexpr (RESIDUAL) added[i] = load_four<ALIGNED>(residual + at, count);
    }
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
      const int64_t row = first + i * m.lanes;
      const bool inside = count > 0 && row < m.rows;
      unsigned bits = 0;
      if (inside) {
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          float z = (values[i].at[c] - center.at[c]) * scale.at[c] + shift.at[c];
          if constexpr (RESIDUAL) z += added[i].at[c];
          values[i].at[c] = activation(z);
          bits |= activation.passes(values[i].at[c]) ? 1u << c : 0u;
        }
        store_four<ALIGNED>(y + row * m.channels + channel, values[i], count);
      }
      if (mask) store_bits(mask, m, row, channel, bits, inside);
    }
  }
}

using Input = View<const float, 5, nhwc>;
using Output = View<float, 5, nhwc>;

void batch_norm_forward_parts(Input x, Statistic running_mean, Statistic running_var, MaybeVector weight,
                              MaybeVector bias, Maybe<Input> residual, Maybe<View<int64_t, 1, rows>> batches, Output y,
                              View<float, 1> mean, View<float, 1> invstd, Bits mask, View<float, 1> workspace,
                              bool training, float momentum, bool cumulative, float eps, int activation) {
  const ChannelRows m = ChannelRows::of(x, BLOCK, CHUNK_COLUMNS);
  if (m.channels == 0) return;
  float *const scale = workspace.data, *const shift = scale + m.channels, *const partial = shift + m.channels;
  const Coefficients per{mean.data, invstd.data, scale, shift, weight, bias};
  const Running running{running_mean.data, running_var.data, batches.data, momentum, cumulative};
  const auto aligned = [&](auto... data) { return m.channels % 4 == 0 && (is_aligned<4>(data) && ...); };
  if (training) {
    const int64_t room = workspace.size() / (2 * m.channels) - 1;
    const int parts = static_cast<int>(std::min(room, chunks_of(m)));
    const auto statistics = aligned(x.data) ? batch_norm_statistics_kernel<true> : batch_norm_statistics_kernel<false>;
    launch(statistics, dim3(parts, m.tile_rows()), BLOCK, 0, m, x.data, partial, running);
    launch(batch_norm_merge_kernel, dim3((m.channels + MERGED - 1) / MERGED), BLOCK, 0, m, x.data, partial, parts, eps,
           per, running);
  } else {
    launch(batch_norm_running_kernel, dim3((m.channels + BLOCK - 1) / BLOCK), BLOCK, 0, m.channels, running, eps, per);
  }
  const bool wide = aligned(x.data, residual.data, y.data, mean.data, scale, shift);
  const auto kernel =
      residual ? wide ? batch_norm_forward_parts_kernel<true, true> : batch_norm_forward_parts_kernel<false, true>
      : wide   ? batch_norm_forward_parts_kernel<true, false>
               : batch_norm_forward_parts_kernel<false, false>;
  launch(kernel, chunk_grid(m), BLOCK, 0, m, x.data, residual.data, per, y.data, mask.size() ? mask.data : nullptr,
         NormActivation{activation});
}

// Scale, shift and the partial moments.
int64_t batch_norm_forward_workspace(Input x) { return (2 + 2 * batch_norm_parts(x)) * x.dim[4]; }
GPUDL_EXPORT(batch_norm, forward, parts, x, running_mean, running_var, weight, bias, residual, batches, y, mean, invstd,
             mask, workspace, training, momentum, cumulative, eps, activation)
    .workspace<batch_norm_forward_workspace>("x");

}  // namespace
}  // namespace gpudl
