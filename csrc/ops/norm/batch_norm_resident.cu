// Batch normalisation in one kernel with one read of x, if all rows of eight channels fit in the registers of a block:
// a block processes eight neighbouring channels (32 bytes, one sector of memory) and up to 1792 rows. Forward moves 8
// bytes per element (12 with a residual), backward 12 (16) and the activation's bits.
#include "core/export.h"
#include "ops/norm/batch_norm.h"
#include "prim/column_parts.h"

namespace gpudl {
namespace {

using namespace prim;

constexpr int COLUMNS = 2;               // threads side by side
constexpr int ITEMS = 4;                 // most rows per thread
constexpr int SMALL = 256, LARGE = 896;  // threads; 72 registers per thread

// Count the batch before other blocks read the count, for a cumulative mean.
__global__ void __launch_bounds__(1) batch_norm_count_kernel(Running running) { running.count(); }

struct Forward {
  const float *x, *residual, *weight, *bias;
  float *y, *mean, *invstd;
  uint8_t* mask;
  Running running;
  float eps;
  NormActivation activation;
  bool training;
};

// Mean and variance of the thread's channels, in two passes over registers: Σ x, then Σ (x - mean) and Σ (x - mean)²,
// of which the first corrects the rounding error of the mean (Chan, Golub, LeVeque 1983).
GPUDL_DEVICE void statistics_of(const ChannelRows& m, const ChannelPlace& place, const Four (&values)[ITEMS],
                                Eight* shared, float (&mean)[4], float (&squares)[4]) {
  const float share = 1.f / static_cast<float>(m.rows);
  Eight sums{};
#pragma unroll
  for (int i = 0; i < ITEMS; ++i)
#pragma unroll
    for (int c = 0; c < 4; ++c) sums.at[c] += values[i].at[c];  // 0 where there is no row
  sums = combine_lanes(m, sums, shared, AddPacks{});
#pragma unroll
  for (int c = 0; c < 4; ++c) mean[c] = sums.at[c] * share;
  sums = {};
#pragma unroll
  for (int i = 0; i < ITEMS; ++i) {
    if (place.lane + i * m.lanes >= m.rows) continue;
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      const float distance = values[i].at[c] - mean[c];
      sums.at[c] += distance;
      sums.at[4 + c] += distance * distance;
    }
  }
  sums = combine_lanes(m, sums, shared, AddPacks{});
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    mean[c] += sums.at[c] * share;
    squares[c] = sums.at[4 + c] - sums.at[c] * sums.at[c] * share;
  }
}

// Grid: one block per eight channels. Requires rows <= ITEMS * lanes.
// sass: batch_norm_forward_resident_kernel registers<=72
template <int BLOCK, bool ALIGNED>
__global__ void __launch_bounds__(BLOCK) batch_norm_forward_resident_kernel(ChannelRows m, Forward f) {
  GPUDL_SHARED(Eight, shared, [BLOCK]);
  if (!f.running.cumulative && blockIdx.x == 0 && threadIdx.x == 0 && f.training) f.running.count();
  const ChannelPlace place(m, blockIdx.x);
  const int channel = place.channel, count = place.count;
  Four values[ITEMS];
#pragma unroll
  for (int i = 0; i < ITEMS; ++i) {
    const int row = place.lane + i * m.lanes;
    values[i] = count > 0 && row < m.rows
                    ? load_four<ALIGNED>(f.x + static_cast<int64_t>(row) * m.channels + channel, count)
                    : Four{};
  }
  float mean[4], scale[4], shift[4];
  if (f.training) statistics_of(m, place, values, shared, mean, scale);
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    const int at = channel + c;
    if (c >= count) continue;
    const float squares = scale[c];
    if (!f.training) mean[c] = f.running.mean[at];
    const float var = f.training ? squares / static_cast<float>(m.rows) : f.running.var[at];
    const float invstd = __fdiv_rn(1.f, __fsqrt_rn(var + f.eps));
    scale[c] = f.weight ? invstd * f.weight[at] : invstd;
    shift[c] = f.bias ? f.bias[at] : 0.f;
    if (place.lane != 0) continue;
    f.mean[at] = mean[c];
    f.invstd[at] = invstd;
    if (f.training) f.running.update(at, mean[c], squares, static_cast<float>(m.rows));
  }
#pragma unroll
  for (int i = 0; i < ITEMS; ++i) {
    const int row = place.lane + i * m.lanes;
    const int64_t at = static_cast<int64_t>(row) * m.channels + channel;
    const bool inside = count > 0 && row < m.rows;
    unsigned bits = 0;
    if (inside) {
      const Four added = f.residual ? load_four<ALIGNED>(f.residual + at, count) : Four{};
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        if (!ALIGNED && c >= count) continue;
        const float z = (values[i].at[c] - mean[c]) * scale[c] + shift[c];
        values[i].at[c] = f.activation(f.residual ? z + added.at[c] : z);
        bits |= f.activation.passes(values[i].at[c]) ? 1u << c : 0u;
      }
      store_four<ALIGNED>(f.y + at, values[i], count);
    }
    if (f.mask) store_bits(f.mask, m, row, channel, bits, inside);
  }
}

struct Backward {
  Gradient gradient;
  const float *x, *mean, *invstd;
  BackwardVectors vectors;
  float *dx, *dweight, *dbias, *dresidual;
  bool training;
};

// Grid: one block per eight channels. Requires rows <= ITEMS * lanes.
// sass: batch_norm_backward_resident_kernel registers<=80
template <int BLOCK, bool ALIGNED>
__global__ void __launch_bounds__(BLOCK) batch_norm_backward_resident_kernel(ChannelRows m, Backward b) {
  GPUDL_SHARED(Eight, shared, [BLOCK]);
  const ChannelPlace place(m, blockIdx.x);
  const int channel = place.channel, count = place.count;
  Four g[ITEMS], values[ITEMS];
  Four center{};
  if (count > 0) center = load_four<ALIGNED>(b.mean + channel, count);
  Eight sums{};
#pragma unroll
  for (int i = 0; i < ITEMS; ++i) {
    const int row = place.lane + i * m.lanes;
    const bool inside = count > 0 && row < m.rows;
    g[i] = inside ? b.gradient.load<ALIGNED>(m, row, channel, count) : Four{};
    values[i] = inside ? load_four<ALIGNED>(b.x + static_cast<int64_t>(row) * m.channels + channel, count) : center;
  }
#pragma unroll
  for (int i = 0; i < ITEMS; ++i) {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      values[i].at[c] -= center.at[c];  // 0 where there is no row
      sums.at[c] += g[i].at[c];
      sums.at[4 + c] += g[i].at[c] * values[i].at[c];
    }
  }
  combine_lanes(m, sums, shared, AddPacks{});  // the results stay in `shared`, at lane 0
  GPUDL_SHARED(Slopes, of_channel, [COLUMNS * 4]);
  Slopes* const slopes = of_channel + threadIdx.x % m.columns * 4;
  for (int c = 0; c < count && place.lane == 0; ++c) {
    const int at = channel + c;
    const float sum_g = shared[threadIdx.x].at[c], sum_gx = shared[threadIdx.x].at[4 + c] * b.invstd[at];
    slopes[c] = b.vectors.slopes(at, b.invstd[at], sum_g, sum_gx, static_cast<float>(m.rows), b.training);
    if (b.dweight) b.dweight[at] = sum_gx;
    if (b.dbias) b.dbias[at] = sum_g;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < ITEMS; ++i) {
    const int row = place.lane + i * m.lanes;
    const int64_t at = static_cast<int64_t>(row) * m.channels + channel;
    if (count == 0 || row >= m.rows) continue;
    if (b.dresidual) store_four<ALIGNED>(b.dresidual + at, g[i], count);
    if (!b.dx) continue;
#pragma unroll
    for (int c = 0; c < 4; ++c)
      if (ALIGNED || c < count)
        values[i].at[c] = g[i].at[c] * slopes[c].scale + (values[i].at[c] * slopes[c].slope + slopes[c].constant);
    store_four<ALIGNED>(b.dx + at, values[i], count);
  }
}

using Input = View<const float, 5, nhwc>;
using Output = View<float, 5, nhwc>;

// Call run(m, block) with the block size that suits the rows, as a compile-time constant.
template <class Run>
void for_rows(const Input& x, Run run) {
  const ChannelRows small = ChannelRows::of(x, SMALL, COLUMNS), large = ChannelRows::of(x, LARGE, COLUMNS);
  if (small.channels == 0) return;
  if (small.rows <= ITEMS * small.lanes) return run(small, std::integral_constant<int, SMALL>{});
  check(large.rows <= ITEMS * large.lanes, "x", "has more rows than one block holds; use the algorithm 'parts'");
  run(large, std::integral_constant<int, LARGE>{});
}

void batch_norm_forward_resident(Input x, Statistic running_mean, Statistic running_var, MaybeVector weight,
                                 MaybeVector bias, Maybe<Input> residual, Maybe<View<int64_t, 1, rows>> batches,
                                 Output y, View<float, 1> mean, View<float, 1> invstd, Bits mask, bool training,
                                 float momentum, bool cumulative, float eps, int activation) {
  const Running running{running_mean.data, running_var.data, batches.data, momentum, cumulative};
  const Forward f{x.data,
                  residual.data,
                  weight.data,
                  bias.data,
                  y.data,
                  mean.data,
                  invstd.data,
                  mask.size() ? mask.data : nullptr,
                  running,
                  eps,
                  NormActivation{activation},
                  training};
  if (training && cumulative && batches) launch(batch_norm_count_kernel, dim3(1), dim3(1), 0, running);
  for_rows(x, [&](const ChannelRows& m, auto block) {
    const bool wide = m.channels % 4 == 0 && is_aligned<4>(f.x) && is_aligned<4>(f.residual) && is_aligned<4>(f.y);
    const auto kernel =
        wide ? batch_norm_forward_resident_kernel<block(), true> : batch_norm_forward_resident_kernel<block(), false>;
    launch(kernel, dim3(m.tiles()), block(), 0, m, f);
  });
}
GPUDL_EXPORT(batch_norm, forward, resident, x, running_mean, running_var, weight, bias, residual, batches, y, mean,
             invstd, mask, training, momentum, cumulative, eps, activation);

void batch_norm_backward_resident(Input dy, MaybeVector dmean, MaybeVector dinvstd, Input x, MaybeVector weight,
                                  Maybe<Input> y, Vector mean, Vector invstd, Maybe<View<const uint8_t, 2>> mask,
                                  Maybe<Output> dx, Statistic dweight, Statistic dbias, Maybe<Output> dresidual,
                                  bool training, int activation) {
  const Backward b{Gradient{dy.data, y.data, mask.data, NormActivation{activation}},
                   x.data,
                   mean.data,
                   invstd.data,
                   BackwardVectors{weight, dmean, dinvstd},
                   dx.data,
                   dweight.data,
                   dbias.data,
                   dresidual.data,
                   training};
  for_rows(x, [&](const ChannelRows& m, auto block) {
    const auto aligned = [](auto... data) { return (is_aligned<4>(data) && ...); };
    const bool wide = m.channels % 4 == 0 && aligned(dy.data, y.data, x.data, mean.data, dx.data, dresidual.data);
    const auto kernel =
        wide ? batch_norm_backward_resident_kernel<block(), true> : batch_norm_backward_resident_kernel<block(), false>;
    launch(kernel, dim3(m.tiles()), block(), 0, m, b);
  });
}
GPUDL_EXPORT(batch_norm, backward, resident, dy, dmean, dinvstd, x, weight, y, mean, invstd, mask, dx, dweight, dbias,
             dresidual, training, activation);

}  // namespace
}  // namespace gpudl
