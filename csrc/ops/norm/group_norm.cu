// Group normalisation of channels-last tensors; instance normalisation has one channel per group. Each sample is a
// matrix of positions × channels. Forward: one read of x for the moments of each channel of each sample, a small kernel
// that merges them into groups, then one read and one write. Backward is the same with the two sums of each channel. 12
// bytes per element forward, 20 backward. All sums have a fixed order.
#include "core/export.h"
#include "ops/norm/batch_norm.h"
#include "ops/norm/moments.h"
#include "prim/column_parts.h"
#include "prim/reduce.h"

namespace gpudl {
namespace {

using namespace prim;

constexpr int BLOCK = CHUNK_BLOCK;
constexpr int GROUPS = BLOCK / 32;  // per block of the merging kernels: a warp each

// m: the positions and channels of one sample. Blocks are numbered sample·parts + part.
struct Groups {
  ChannelRows m;
  int samples, parts, groups;

  GPUDL_HD int channels() const { return m.channels / groups; }  // per group
  GPUDL_HD float size() const { return static_cast<float>(m.rows) * static_cast<float>(channels()); }
  GPUDL_DEVICE int sample() const { return static_cast<int>(blockIdx.x) / parts; }
  GPUDL_DEVICE int part() const { return static_cast<int>(blockIdx.x) % parts; }
  GPUDL_DEVICE int64_t start() const { return sample() * m.rows * m.channels; }
  dim3 grid() const { return dim3(static_cast<unsigned>(samples) * parts, m.tile_rows()); }
  dim3 merge_grid() const {
    return dim3(static_cast<unsigned>((static_cast<int64_t>(samples) * groups + GROUPS - 1) / GROUPS));
  }
};

// The group's value for each of the thread's four channels.
GPUDL_DEVICE Four of_groups(const Groups& g, const ChannelPlace& place, const float* values) {
  Four four{};
#pragma unroll
  for (int c = 0; c < 4; ++c)
    if (c < place.count) four.at[c] = values[g.sample() * g.groups + (place.channel + c) / g.channels()];
  return four;
}

// partial[sample·parts + part][mean, squares][channel]. Grid: (samples·parts, tiles).
// sass: group_norm_moments_kernel registers<=80
template <bool ALIGNED>
__global__ void __launch_bounds__(BLOCK, 3) group_norm_moments_kernel(Groups g, const float* x, float* partial) {
  GPUDL_SHARED(FourMoments, shared, [BLOCK]);
  const ChannelPlace place(g.m, blockIdx.y);
  FourMoments mine{};
  Four origin{};
  if (place.count > 0) {
    const float* const from = x + g.start();
    origin = load_four<ALIGNED>(from + place.channel, place.count);
    mine = moments_of<ALIGNED>(g.m, place, from, origin, g.part(), g.parts);
  }
  mine = combine_lanes(g.m, mine, shared, [](const FourMoments& a, const FourMoments& b) { return merge(a, b); });
  Eight sums;
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    sums.at[c] = origin.at[c] + mine.mean[c];
    sums.at[4 + c] = mine.squares[c];
  }
  store_partial(g.m, place, sums, partial, blockIdx.x);
}

// A thread's place in a merging kernel: a warp per (sample, group), whose lanes share the parts and channels.
struct Merger {
  int64_t group;
  int lane, items;
  GPUDL_DEVICE explicit Merger(const Groups& g)
      : group(static_cast<int64_t>(blockIdx.x) * GROUPS + threadIdx.x / 32),
        lane(threadIdx.x % 32),
        items(group < static_cast<int64_t>(g.samples) * g.groups ? g.parts * g.channels() : 0) {}
  // Call f(part, channel, address of its first partial sum) for the thread's share.
  template <class F>
  GPUDL_DEVICE void each(const Groups& g, const float* partial, F f) const {
    const int64_t sample = group / g.groups;
    for (int item = lane; item < items; item += 32) {
      const int part = item / g.channels();
      const int channel = static_cast<int>(group % g.groups) * g.channels() + item % g.channels();
      f(part, channel, partial + 2 * (sample * g.parts + part) * g.m.channels + channel);
    }
  }
};

// sass: group_norm_merge_kernel SHFL registers<=48
__global__ void __launch_bounds__(BLOCK)
    group_norm_merge_kernel(Groups g, const float* partial, float eps, float* mean, float* invstd) {
  const Merger merger(g);
  Moments mine{0, 0, 0};
  merger.each(g, partial, [&](int part, int, const float* from) {
    mine = merge(mine, {static_cast<float>(rows_of_part(g.m, part, g.parts)), from[0], from[g.m.channels]});
  });
  mine = warp_reduce(mine, [](Moments a, Moments b) { return merge(a, b); });
  if (merger.lane != 0 || merger.items == 0) return;
  mean[merger.group] = mine.mean;
  invstd[merger.group] = __fdiv_rn(1.f, __fsqrt_rn(mine.squares / mine.count + eps));
}

// y = (x - mean)·invstd·weight + bias. Grid: (samples·parts, tiles).
// sass: group_norm_forward_nhwc_kernel registers<=64
template <bool ALIGNED>
__global__ void __launch_bounds__(BLOCK, 4)
    group_norm_forward_nhwc_kernel(Groups g, const float* x, const float* weight, const float* bias, const float* mean,
                                   const float* invstd, float* y) {
  const ChannelPlace place(g.m, blockIdx.y);
  if (place.count == 0) return;
  const Four center = of_groups(g, place, mean);
  Four scale = of_groups(g, place, invstd), shift{};
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    if (c >= place.count) continue;
    if (weight) scale.at[c] *= weight[place.channel + c];
    if (bias) shift.at[c] = bias[place.channel + c];
  }
  const int64_t base = g.start() + place.channel, step = static_cast<int64_t>(g.parts) * g.m.lanes;
#pragma unroll 4
  for (int64_t row = static_cast<int64_t>(g.part()) * g.m.lanes + place.lane; row < g.m.rows; row += step) {
    Four values = load_four<ALIGNED>(x + base + row * g.m.channels, place.count);
#pragma unroll
    for (int c = 0; c < 4; ++c) values.at[c] = (values.at[c] - center.at[c]) * scale.at[c] + shift.at[c];
    store_four<ALIGNED>(y + base + row * g.m.channels, values, place.count);
  }
}

// partial[sample·parts + part] = Σ dy·xhat and Σ dy of each channel. Grid: (samples·parts, tiles).
// sass: group_norm_gradient_sums_kernel registers<=64
template <bool ALIGNED>
__global__ void __launch_bounds__(BLOCK, 4)
    group_norm_gradient_sums_kernel(Groups g, const float* dy, const float* x, const float* mean, const float* invstd,
                                    float* partial) {
  GPUDL_SHARED(Eight, shared, [BLOCK]);
  const ChannelPlace place(g.m, blockIdx.y);
  Eight sums{};
  if (place.count > 0) {
    const Four center = of_groups(g, place, mean), scale = of_groups(g, place, invstd);
    const int64_t base = g.start() + place.channel, step = static_cast<int64_t>(g.parts) * g.m.lanes;
#pragma unroll 2
    for (int64_t row = static_cast<int64_t>(g.part()) * g.m.lanes + place.lane; row < g.m.rows; row += step) {
      const int64_t at = base + row * g.m.channels;
      const Four d = load_four<ALIGNED>(dy + at, place.count), v = load_four<ALIGNED>(x + at, place.count);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        sums.at[c] += d.at[c] * ((v.at[c] - center.at[c]) * scale.at[c]);
        sums.at[4 + c] += d.at[c];
      }
    }
  }
  store_partial(g.m, place, combine_lanes(g.m, sums, shared, AddPacks{}), partial, blockIdx.x);
}

struct GroupGradients {
  const float *weight, *mean, *invstd, *dmean, *dinvstd;
};

// slopes[0, 1][sample, group]: dx = dy·weight·invstd + (x - mean)·slope + constant, from
// dx = invstd·(g - Σ g/M - xhat·Σ(g·xhat)/M) + dmean/M - dinvstd·invstd²·xhat/M, g = dy·weight, M values per group.
// sass: group_norm_slopes_kernel SHFL registers<=48
__global__ void __launch_bounds__(BLOCK)
    group_norm_slopes_kernel(Groups g, const float* partial, GroupGradients of, float* slopes) {
  const Merger merger(g);
  float sum_gx = 0, sum_g = 0;
  merger.each(g, partial, [&](int, int channel, const float* from) {
    const float weight = of.weight ? of.weight[channel] : 1.f;
    sum_gx += weight * from[0];
    sum_g += weight * from[g.m.channels];
  });
  sum_gx = warp_reduce(sum_gx, Sum{});
  sum_g = warp_reduce(sum_g, Sum{});
  if (merger.lane != 0 || merger.items == 0) return;
  const float invstd = of.invstd[merger.group], share = 1.f / g.size();
  const float given = of.dinvstd ? of.dinvstd[merger.group] * invstd : 0.f;
  slopes[merger.group] = -(sum_gx + given) * invstd * invstd * share;
  slopes[static_cast<int64_t>(g.samples) * g.groups + merger.group] =
      ((of.dmean ? of.dmean[merger.group] : 0.f) - invstd * sum_g) * share;
}

// Grid: (samples·parts, tiles).
// sass: group_norm_backward_nhwc_kernel registers<=80
template <bool ALIGNED>
__global__ void __launch_bounds__(BLOCK, 3)
    group_norm_backward_nhwc_kernel(Groups g, const float* dy, const float* x, GroupGradients of, const float* slopes,
                                    float* dx) {
  const ChannelPlace place(g.m, blockIdx.y);
  if (place.count == 0) return;
  const Four center = of_groups(g, place, of.mean), slope = of_groups(g, place, slopes);
  const Four constant = of_groups(g, place, slopes + static_cast<int64_t>(g.samples) * g.groups);
  Four scale = of_groups(g, place, of.invstd);
#pragma unroll
  for (int c = 0; c < 4; ++c)
    if (of.weight && c < place.count) scale.at[c] *= of.weight[place.channel + c];
  const int64_t base = g.start() + place.channel, step = static_cast<int64_t>(g.parts) * g.m.lanes;
#pragma unroll 2
  for (int64_t row = static_cast<int64_t>(g.part()) * g.m.lanes + place.lane; row < g.m.rows; row += step) {
    const int64_t at = base + row * g.m.channels;
    const Four d = load_four<ALIGNED>(dy + at, place.count);
    Four v = load_four<ALIGNED>(x + at, place.count);
#pragma unroll
    for (int c = 0; c < 4; ++c)
      v.at[c] = d.at[c] * scale.at[c] + ((v.at[c] - center.at[c]) * slope.at[c] + constant.at[c]);
    store_four<ALIGNED>(dx + at, v, place.count);
  }
}

using Input = View<const float, 5, nhwc>;
using Output = View<float, 5, nhwc>;

Groups groups_of(const Input& x, int groups, int64_t room) {
  ChannelRows m = ChannelRows::of(x, BLOCK, CHUNK_COLUMNS);
  m.rows = static_cast<int64_t>(x.dim[1]) * x.dim[2] * x.dim[3];
  const int64_t each = 2 * static_cast<int64_t>(x.dim[0]) * m.channels;
  const int64_t parts = each ? std::min(room / each, chunks_of(m)) : 1;
  return {m, x.dim[0], static_cast<int>(std::max<int64_t>(1, parts)), groups};
}

void group_norm_forward_nhwc(Input x, MaybeVector weight, MaybeVector bias, Output y, View<float, 2> mean,
                             View<float, 2> invstd, View<float, 1> workspace, int num_groups, float eps) {
  const Groups g = groups_of(x, num_groups, workspace.size());
  if (x.size() == 0) return;
  const bool wide = g.m.channels % 4 == 0 && is_aligned<4>(x.data) && is_aligned<4>(y.data);
  launch(wide ? group_norm_moments_kernel<true> : group_norm_moments_kernel<false>, g.grid(), BLOCK, 0, g, x.data,
         workspace.data);
  launch(group_norm_merge_kernel, g.merge_grid(), BLOCK, 0, g, workspace.data, eps, mean.data, invstd.data);
  launch(wide ? group_norm_forward_nhwc_kernel<true> : group_norm_forward_nhwc_kernel<false>, g.grid(), BLOCK, 0, g,
         x.data, weight.data, bias.data, mean.data, invstd.data, y.data);
}

// The partial sums of each sample.
int64_t group_norm_workspace(Input x) {
  const int64_t samples = x.dim[0], channels = x.dim[4], positions = int64_t{1} * x.dim[1] * x.dim[2] * x.dim[3];
  const int64_t tiles = (channels + NORM_COLUMNS - 1) / NORM_COLUMNS;
  return 2 * samples * channels * norm_parts(positions, channels, NORM_BLOCKS / std::max<int64_t>(1, samples * tiles));
}
GPUDL_EXPORT(group_norm, forward, nhwc, x, weight, bias, y, mean, invstd, workspace, num_groups, eps)
    .workspace<group_norm_workspace>("x");

using Stat = View<const float, 2>;

void group_norm_backward_nhwc(Input dy, Maybe<Stat> dmean, Maybe<Stat> dinvstd, Input x, MaybeVector weight, Stat mean,
                              Stat invstd, Maybe<Output> dx, Statistic dweight, Statistic dbias,
                              View<float, 1> workspace, int num_groups) {
  const int64_t head = 2 * static_cast<int64_t>(x.dim[0]) * num_groups;
  const Groups g = groups_of(x, num_groups, workspace.size() - head);
  float *const slopes = workspace.data, *const partial = slopes + head;
  const GroupGradients of{weight.data, mean.data, invstd.data, dmean.data, dinvstd.data};
  const bool wide = g.m.channels % 4 == 0 && is_aligned<4>(x.data) && is_aligned<4>(dy.data) && is_aligned<4>(dx.data);
  if (x.size() > 0) {
    launch(wide ? group_norm_gradient_sums_kernel<true> : group_norm_gradient_sums_kernel<false>, g.grid(), BLOCK, 0, g,
           dy.data, x.data, mean.data, invstd.data, partial);
    if (dx) {
      launch(group_norm_slopes_kernel, g.merge_grid(), BLOCK, 0, g, partial, of, slopes);
      launch(wide ? group_norm_backward_nhwc_kernel<true> : group_norm_backward_nhwc_kernel<false>, g.grid(), BLOCK, 0,
             g, dy.data, x.data, of, slopes, dx.data);
    }
  }
  if (dweight || dbias)
    add_parts(partial, x.size() > 0 ? g.samples * g.parts : 0, g.m.channels, dweight.data, dbias.data);
}

// The slopes and constants of the groups, then the partial sums.
int64_t group_norm_backward_workspace(Input x, int num_groups) {
  return int64_t{2} * x.dim[0] * num_groups + group_norm_workspace(x);
}
GPUDL_EXPORT(group_norm, backward, nhwc, dy, dmean, dinvstd, x, weight, mean, invstd, dx, dweight, dbias, workspace,
             num_groups)
    .workspace<group_norm_backward_workspace>("x, num_groups");

}  // namespace
}  // namespace gpudl
