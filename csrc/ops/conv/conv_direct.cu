// Convolution without a matrix product, for few channels (first layers, depthwise), where a GEMM's tiles would be
// mostly empty. Supports any shape, stride, padding, dilation and groups.
//
// sass: conv_direct_kernel FFMA registers<=96
// sass: conv_depthwise_kernel FFMA registers<=96
// sass: conv_weight_direct_kernel FFMA registers<=64
#include "ops/conv/conv_direct.h"
#include "ops/conv/pixel_sums.h"
#include "platform/device.h"
#include "prim/elementwise.h"

namespace gpudl {
namespace {

// ------------------------------------------------------------------------------------- forward and data gradient

constexpr int THREADS = 128;
constexpr int TQ = 4;        // results along the width that one thread computes
constexpr int DEPTH = 64;    // terms whose weights are in shared memory at a time
constexpr int BLOCK_C = 64;  // most channels that one block computes

// How a sweep's work is divided.
struct DirectPlan {
  int slots = 0, block_slots = 1;  // runs of channels: in all, and per block
  int row_runs = 0;                // runs of TQ results per row
  int64_t runs = 0;
  bool packs;  // whether four neighbouring channels are written at once
  dim3 grid;

  DirectPlan(const Sweep& s, int channel_slots, int slot_channels, const float* to)
      : slots(channel_slots), packs(s.to_c % 4 == 0 && prim::is_aligned<4>(to)) {
    while (block_slots < slots && block_slots < 32 && block_slots * slot_channels < BLOCK_C) block_slots *= 2;
    row_runs = ceil_div(s.w.results, TQ);
    runs = static_cast<int64_t>(s.N) * s.d.results * s.h.results * row_runs;
    grid = dim3(static_cast<unsigned>(ceil_div<int64_t>(runs, THREADS / block_slots)), ceil_div(slots, block_slots));
  }
};

// The TQ results and channels that a thread computes, and their place.
struct DirectPlace {
  int slot;
  bool active;
  int results;             // of TQ
  int64_t image, pixel;    // start of the source image, and the first result, in pixels
  int depth, row, column;  // the pixel that tap 0 of the first result reads

  GPUDL_DEVICE DirectPlace(const Sweep& s, const DirectPlan& plan) {
    slot = blockIdx.y * plan.block_slots + threadIdx.x % plan.block_slots;
    int64_t run = static_cast<int64_t>(blockIdx.x) * (THREADS / plan.block_slots) + threadIdx.x / plan.block_slots;
    active = slot < plan.slots && run < plan.runs;
    const int i_w = static_cast<int>(run % plan.row_runs) * TQ;
    run /= plan.row_runs;
    const int i_h = static_cast<int>(run % s.h.results);
    run /= s.h.results;
    const int i_d = static_cast<int>(run % s.d.results);
    const int64_t n = run / s.d.results;
    results = min(TQ, s.w.results - i_w);
    image = n * s.source_pixels();
    pixel = ((n * s.d.extent + s.d.first + i_d * s.d.step) * s.h.extent + s.h.first + i_h * s.h.step) * s.w.extent +
            s.w.first + i_w * s.w.step;
    depth = s.d.source(i_d, 0), row = s.h.source(i_h, 0), column = s.w.source(i_w, 0);
  }
};

// One term of a result: the offset of its tap from tap 0, and its channel in the source's group.
struct alignas(16) Summand {
  int depth, row, column, channel;
};

// The source row of a term's tap, as a pixel of the image; -1 outside.
GPUDL_DEVICE int source_row(const Sweep& s, const DirectPlace& place, const Summand& at) {
  const int depth = place.depth + at.depth, row = place.row + at.row;
  const bool inside = depth >= 0 && depth < s.d.source_extent && row >= 0 && row < s.h.source_extent;
  return inside ? (depth * s.h.source_extent + row) * s.w.source_extent : -1;
}

// Position of tap number `tap` of a sweep on each axis.
GPUDL_DEVICE Triple tap_at(const Sweep& s, int tap) {
  return {tap / s.w.taps / s.h.taps, tap / s.w.taps % s.h.taps, tap % s.w.taps};
}

GPUDL_DEVICE Summand summand_of(const Sweep& s, const Triple& tap, int channel) {
  return {tap.d * s.d.tap_step, tap.h * s.h.tap_step, tap.w * s.w.tap_step, channel};
}

// to[pixel, g*to_c + c] = finish(sum over the sweep's taps and channels). TC channels x TQ results per thread.
// Grid: (runs of results, slots of channels). Block: THREADS = block_slots x (runs); the weights of its channels pass
// through shared memory, DEPTH terms at a time, so any filter fits; each x is used TC times, each weight TQ times.
template <int TC>
__global__ void __launch_bounds__(THREADS, 5)  // without the bound, the compiler spills to fit six blocks
    conv_direct_kernel(const float* from, const float* weight, float* to, Sweep s, DirectPlan plan,
                       ConvFinish<float> finish) {
  GPUDL_SHARED(float, weights, [DEPTH][BLOCK_C]);
  GPUDL_SHARED(Summand, summands, [DEPTH]);
  const int group_slots = ceil_div(s.to_c, TC);
  const int first_slot = blockIdx.y * plan.block_slots, my_slot = threadIdx.x % plan.block_slots;
  const DirectPlace place(s, plan);
  const int group = place.slot / group_slots, channel = place.slot % group_slots * TC;  // within the group
  const int all_from = s.groups * s.from_c, all_to = s.groups * s.to_c;
  const float* image = from + place.image * all_from + group * s.from_c;

  float sum[TQ][TC] = {};
  const int depth = s.depth(), width = plan.block_slots * TC;
  for (int start = 0; start < depth; start += DEPTH) {
    const int count = min(DEPTH, depth - start);
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += THREADS) {
      summands[i] = summand_of(s, tap_at(s, (start + i) / s.from_c), (start + i) % s.from_c);
    }
    for (int i = threadIdx.x; i < count * width; i += THREADS) {
      const int e = i / width, slot = first_slot + i % width / TC;
      const int c = slot % group_slots * TC + i % width % TC;
      const Triple tap = tap_at(s, (start + e) / s.from_c);
      const int at = s.tap_weight(tap.d, tap.h, tap.w);
      const bool there = slot < plan.slots && c < s.to_c;
      const int64_t group_start = static_cast<int64_t>(slot / group_slots) * s.group_weights();
      weights[e][i % width] =
          there ? weight[group_start + at + (start + e) % s.from_c * s.from_step + c * s.to_step] : 0.f;
    }
    __syncthreads();
    if (!place.active) continue;
    for (int e = 0; e < count; ++e) {
      const Summand at = summands[e];
      const int row = source_row(s, place, at);
      if (row < 0) continue;
      float w[TC];
      for (int c = 0; c < TC; ++c) w[c] = weights[e][my_slot * TC + c];
#pragma unroll
      for (int j = 0; j < TQ; ++j) {
        const int column = place.column + at.column + j * s.w.source_step;
        if (column < 0 || column >= s.w.source_extent) continue;
        const float v = image[(row + column) * all_from + at.channel];
#pragma unroll
        for (int c = 0; c < TC; ++c) sum[j][c] += v * w[c];
      }
    }
  }
  if (!place.active) return;
  constexpr int PACK = TC == 1 ? 1 : 4;
#pragma unroll
  for (int j = 0; j < TQ; ++j)
#pragma unroll
    for (int c = 0; c < TC; c += PACK) {
      if (j >= place.results || channel + c >= s.to_c) continue;
      const int k = group * s.to_c + channel + c;
      const int64_t at = (place.pixel + j * s.w.step) * all_to + k;
      const int count = min(PACK, s.to_c - channel - c);
      prim::Pack<float, PACK> results;
#pragma unroll
      for (int i = 0; i < PACK; ++i)
        if (i < count) results.at[i] = finish(sum[j][c + i], k + i, at + i);
      if (plan.packs) {
        prim::store_pack<PACK>(to + at, results);
      } else {
#pragma unroll
        for (int i = 0; i < PACK; ++i)
          if (i < count) to[at + i] = results.at[i];
      }
    }
}

// The same for groups of one channel: 4 channels x TQ results per thread in 16-byte accesses.
// Requires a multiple of 4 channels, and arrays aligned to 16 bytes.
__global__ void __launch_bounds__(THREADS) conv_depthwise_kernel(const float* from, const float* weight, float* to,
                                                                 Sweep s, DirectPlan plan, ConvFinish<float> finish) {
  GPUDL_SHARED(float, weights, [DEPTH][BLOCK_C]);
  GPUDL_SHARED(Summand, summands, [DEPTH]);
  const DirectPlace place(s, plan);
  const int first_channel = blockIdx.y * plan.block_slots * 4, my_channel = threadIdx.x % plan.block_slots * 4;
  const int channel = first_channel + my_channel;
  const float* image = from + place.image * s.groups + channel;

  prim::Pack<float, 4> sum[TQ] = {};
  const int width = plan.block_slots * 4, taps = s.taps();
  for (int start = 0; start < taps; start += DEPTH) {
    const int count = min(DEPTH, taps - start);
    __syncthreads();
    for (int i = threadIdx.x; i < count * width; i += THREADS) {
      const int e = i / width, c = first_channel + i % width;
      const Triple tap = tap_at(s, start + e);
      const int at = s.tap_weight(tap.d, tap.h, tap.w);
      const Summand summand = summand_of(s, tap, 0);
      if (i % width == 0) summands[e] = summand;
      weights[e][i % width] = c < s.groups ? weight[static_cast<int64_t>(c) * s.group_weights() + at] : 0.f;
    }
    __syncthreads();
    if (!place.active) continue;
    for (int e = 0; e < count; ++e) {
      const Summand at = summands[e];
      const int row = source_row(s, place, at);
      if (row < 0) continue;
      const auto w = prim::load_pack<4>(&weights[e][my_channel]);
#pragma unroll
      for (int j = 0; j < TQ; ++j) {
        const int column = place.column + at.column + j * s.w.source_step;
        if (column < 0 || column >= s.w.source_extent) continue;
        const auto v = prim::load_pack<4>(image + (row + column) * s.groups);
#pragma unroll
        for (int c = 0; c < 4; ++c) sum[j].at[c] += v.at[c] * w.at[c];
      }
    }
  }
  if (!place.active) return;
#pragma unroll
  for (int j = 0; j < TQ; ++j) {
    if (j >= place.results) break;
    const int64_t at = (place.pixel + j * s.w.step) * s.groups + channel;
#pragma unroll
    for (int c = 0; c < 4; ++c) sum[j].at[c] = finish(sum[j].at[c], channel + c, at + c);
    prim::store_pack<4>(to + at, sum[j]);
  }
}

void run_sweep(const Sweep& s, const float* from, const float* weight, float* to, const ConvFinish<float>& finish) {
  const bool aligned = prim::is_aligned<4>(from) && prim::is_aligned<4>(to);
  if (s.from_c == 1 && s.to_c == 1 && s.groups % 4 == 0 && aligned) {
    const DirectPlan plan(s, s.groups / 4, 4, to);
    return launch(conv_depthwise_kernel, plan.grid, THREADS, 0, from, weight, to, s, plan, finish);
  }
  with_channels(s.to_c, [&]<int TC>() {
    const DirectPlan plan(s, s.groups * ceil_div(s.to_c, TC), TC, to);
    launch(conv_direct_kernel<TC>, plan.grid, THREADS, 0, from, weight, to, s, plan, finish);
  });
}

// -------------------------------------------------------------------------------------------------- weight gradient

// partial[split,k,tap,c] = sum over the split's output pixels of dy[pixel,k] * x[pixel that the tap reads there, c].
// Grid: (items / PIXEL_COLUMNS, splits); an item is a tap, a slot of TK filters of a group and a channel c of it, the
// last fastest, so that neighbours read neighbouring channels. Block: PIXEL_COLUMNS items x PIXEL_LANES; a lane takes
// every PIXEL_LANES-th pixel, then lanes are added in order.
template <int TK>
__global__ void __launch_bounds__(PIXEL_COLUMNS* PIXEL_LANES)
    conv_weight_direct_kernel(const float* dy, const float* x, float* partial, ConvShape conv) {
  GPUDL_SHARED(float, lanes, [PIXEL_LANES][TK][PIXEL_COLUMNS]);
  const int group_slots = ceil_div(conv.group_k(), TK);
  const int tap_items = conv.groups * group_slots * conv.group_c();
  const int64_t item = static_cast<int64_t>(blockIdx.x) * PIXEL_COLUMNS + threadIdx.x;
  const bool active = item < static_cast<int64_t>(conv.taps()) * tap_items;
  const int tap = static_cast<int>(item / tap_items);
  const int slot = static_cast<int>(item % tap_items) / conv.group_c(), c = static_cast<int>(item % conv.group_c());
  const int group = slot / group_slots, first_k = slot % group_slots * TK;  // within the group
  const int filters = min(TK, conv.group_k() - first_k);
  const int depth_shift = tap / conv.w.window / conv.h.window * conv.d.dilation - conv.d.padding;
  const int row_shift = tap / conv.w.window % conv.h.window * conv.h.dilation - conv.h.padding;
  const int column_shift = tap % conv.w.window * conv.w.dilation - conv.w.padding;

  float sum[TK] = {};
  const PixelRange range = pixel_range(conv.pixels(), blockIdx.y, gridDim.y);
  int64_t m = range.first + threadIdx.y;
  int q = static_cast<int>(m % conv.w.output), p = static_cast<int>(m / conv.w.output % conv.h.output);
  int o = static_cast<int>(m / conv.w.output / conv.h.output % conv.d.output);
  int64_t n = m / conv.output_pixels();
  for (; active && m < range.last; m += PIXEL_LANES) {
    const int d = o * conv.d.stride + depth_shift, h = p * conv.h.stride + row_shift;
    const int w = q * conv.w.stride + column_shift;
    if (d >= 0 && d < conv.d.image && h >= 0 && h < conv.h.image && w >= 0 && w < conv.w.image) {
      const int64_t pixel = ((n * conv.d.image + d) * conv.h.image + h) * conv.w.image + w;
      const float v = x[pixel * conv.C + group * conv.group_c() + c];
      const float* dk = dy + m * conv.K + group * conv.group_k() + first_k;
#pragma unroll
      for (int k = 0; k < TK; ++k)
        if (k < filters) sum[k] += v * dk[k];
    }
    for (q += PIXEL_LANES; q >= conv.w.output; q -= conv.w.output)
      if (++p == conv.h.output) {
        p = 0;
        if (++o == conv.d.output) o = 0, ++n;
      }
  }
#pragma unroll
  for (int k = 0; k < TK; ++k) lanes[threadIdx.y][k][threadIdx.x] = sum[k];
  __syncthreads();
  if (!active) return;
  for (int k = threadIdx.y; k < filters; k += PIXEL_LANES) {
    float total = 0;
    for (int lane = 0; lane < PIXEL_LANES; ++lane) total += lanes[lane][k][threadIdx.x];
    const int64_t filter = static_cast<int64_t>(group) * conv.group_k() + first_k + k;
    partial[blockIdx.y * conv.weights() + filter * conv.filter_size() + tap * conv.group_c() + c] = total;
  }
}

}  // namespace

// -------------------------------------------------------------------------------------------------- the algorithm

void Direct::forward(const ConvShape& conv, const float* x, const float* weight, float* y,
                     const ConvFinish<float>& finish, Workspace) {
  run_sweep(forward_sweep(conv), x, weight, y, finish);
}

void Direct::data_gradient(const ConvShape& conv, const float* dy, const float* weight, float* dx,
                           const ConvFinish<float>& finish, Workspace) {
  each_gradient_sweep(conv, [&](const Sweep& s) { run_sweep(s, dy, weight, dx, finish); });
}

// Enough splits to fill a GPU: 512 blocks of 256 sums.
int64_t Direct::weight_workspace(const ConvShape& conv) {
  return pixel_splits(conv.pixels(), 512 * 256 / conv.weights()) * conv.weights();
}

void Direct::weight_gradient(const ConvShape& conv, const float* dy, const float* x, float* dweight,
                             Workspace workspace) {
  const int64_t room = workspace.size() / conv.weights();
  check(room >= 1, "workspace", "is too small for one copy of the weights' gradient");
  const int splits = pixel_splits(conv.pixels(), std::min<int64_t>(room, 65535));
  with_channels(conv.group_k(), [&]<int TK>() {
    const int64_t items = int64_t{conv.groups} * ceil_div(conv.group_k(), TK) * conv.filter_size();
    const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(items, PIXEL_COLUMNS)), splits);
    launch(conv_weight_direct_kernel<TK>, grid, dim3(PIXEL_COLUMNS, PIXEL_LANES), 0, dy, x, workspace.data, conv);
  });
  add_splits(workspace.data, dweight, conv.weights(), splits);
}

namespace {
GPUDL_CONV(conv1d, direct, Direct);
GPUDL_CONV(conv2d, direct, Direct);
GPUDL_CONV(conv3d, direct, Direct);
GPUDL_CONV_TRANSPOSE(conv_transpose1d, direct, Direct);
GPUDL_CONV_TRANSPOSE(conv_transpose2d, direct, Direct);
GPUDL_CONV_TRANSPOSE(conv_transpose3d, direct, Direct);
}  // namespace
}  // namespace gpudl
