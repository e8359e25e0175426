// Convolution without a matrix product, for few channels (first layers, depthwise), where a GEMM's tiles stay empty.
// Takes any shape, stride, padding, dilation and groups. Images are {N,H,W,C}, weights {K,R,S,C/groups}.
//
// sass: conv2d_forward_direct_kernel FFMA registers<=96
// sass: conv2d_backward_data_direct_kernel FFMA registers<=96
// sass: conv2d_backward_weight_direct_kernel FFMA registers<=64
#include "core/export.h"
#include "platform/device.h"
#include "prim/conv.h"
#include "prim/pixel_sums.h"

namespace gpudl {
namespace {

// -------------------------------------------------------------------------------- forward and data gradient: a sweep
// Every element of the image written is a sum, over window taps and channels of the image read, of elements times
// weights. The two directions differ in where a tap falls and in how the weights lie.

constexpr int THREADS = 128;
constexpr int TQ = 4;        // pixels that one thread computes
constexpr int DEPTH = 64;    // summands whose weights lie in shared memory at a time
constexpr int BLOCK_C = 64;  // most channels that one block computes

// What a sweep reads and writes, and how its work is cut.
struct Sweep {
  int in_h, in_w, in_c, in_group;      // image read; channels in all and in a group
  int out_h, out_w, out_c, out_group;  // image written
  int64_t weight_in, weight_out;       // strides of the two channels in the weights
  int slots = 0, block_slots = 1;      // runs of TC channels within a group: in all, and in one block
  int row_runs = 0;                    // runs of TQ pixels in a row
  int64_t runs = 0;
};

// Where taps fall along one axis. Forward, y[q] meets x[q*stride - padding + s*dilation]. In the data gradient x[w]
// meets y[(w + padding - s*dilation) / stride] if that is whole; a thread's pixels lie `stride` apart, so that it is
// for all of them or for none.
template <bool TRANSPOSED>
struct Axis {
  int stride, padding, dilation;

  GPUDL_HD int out_step() const { return TRANSPOSED ? stride : 1; }
  GPUDL_HD int in_step() const { return TRANSPOSED ? 1 : stride; }
  GPUDL_DEVICE int meet(int at, int tap) const {
    if constexpr (!TRANSPOSED) return at * stride - padding + tap * dilation;
    const int scaled = at + padding - tap * dilation;
    return scaled % stride == 0 ? scaled / stride : -TQ;  // -TQ: outside for all pixels of the thread
  }
};

// One summand of the sweep: a window tap and a channel of the group read.
struct Summand {
  int r, s, c;
};

// Sums of TC channels x TQ pixels for this thread, and storing them.
// Grid: (runs of pixels, slots of channels). Block: THREADS = block_slots x (runs); the weights of its channels pass
// through shared memory, DEPTH summands at a time, so any filter fits; each x is used TC times, each weight TQ times.
template <bool TRANSPOSED, int TC>
GPUDL_DEVICE void sweep(const float* in, const float* weight, const float* bias, float* out, ConvShape conv, Sweep s) {
  GPUDL_SHARED(float, weights, [DEPTH][BLOCK_C]);
  GPUDL_SHARED(Summand, summands, [DEPTH]);
  const Axis<TRANSPOSED> rows{conv.stride.h, conv.padding.h, conv.dilation.h};
  const Axis<TRANSPOSED> columns{conv.stride.w, conv.padding.w, conv.dilation.w};
  const int group_slots = ceil_div(s.out_group, TC);
  const int first_slot = blockIdx.y * s.block_slots;

  const int my_slot = threadIdx.x % s.block_slots;
  const int slot = first_slot + my_slot;
  const int group = slot / group_slots;
  const int channel = slot % group_slots * TC;  // within the group
  const int64_t run = static_cast<int64_t>(blockIdx.x) * (THREADS / s.block_slots) + threadIdx.x / s.block_slots;
  const bool active = slot < s.slots && run < s.runs;
  const int row_run = static_cast<int>(run % s.row_runs);
  const int step = columns.out_step();
  const int out_col = row_run / step * (TQ * step) + row_run % step;
  const int64_t out_row = run / s.row_runs;
  const int h = static_cast<int>(out_row % s.out_h);
  const int64_t n = out_row / s.out_h;
  const float* image = in + n * s.in_h * s.in_w * s.in_c + group * s.in_group;

  float sum[TQ][TC] = {};
  const int depth = conv.R * conv.S * s.in_group;
  for (int start = 0; start < depth; start += DEPTH) {
    const int count = min(DEPTH, depth - start);
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += THREADS) {
      const int tap = (start + i) / s.in_group;
      summands[i] = {tap / conv.S, tap % conv.S, (start + i) % s.in_group};
    }
    const int width = s.block_slots * TC;
    for (int i = threadIdx.x; i < count * width; i += THREADS) {
      const int e = i / width, column = i % width;
      const int to = first_slot + column / TC, c = to % group_slots * TC + column % TC;
      const int tap = (start + e) / s.in_group, from = (start + e) % s.in_group;
      const bool there = to < s.slots && c < s.out_group;
      const int64_t at = static_cast<int64_t>(to / group_slots) * conv.group_k() * conv.filter_size() +
                         static_cast<int64_t>(tap) * conv.group_c() + from * s.weight_in + c * s.weight_out;
      weights[e][column] = there ? weight[at] : 0.f;
    }
    __syncthreads();
    if (!active) continue;
    for (int e = 0; e < count; ++e) {
      const Summand at = summands[e];
      const int row = rows.meet(h, at.r), column = columns.meet(out_col, at.s);
      if (row < 0 || row >= s.in_h) continue;
      float w[TC];
      for (int c = 0; c < TC; ++c) w[c] = weights[e][my_slot * TC + c];
#pragma unroll
      for (int j = 0; j < TQ; ++j) {
        const int col = column + j * columns.in_step();
        if (col < 0 || col >= s.in_w) continue;
        const float v = image[(row * s.in_w + col) * s.in_c + at.c];
#pragma unroll
        for (int c = 0; c < TC; ++c) sum[j][c] += v * w[c];
      }
    }
  }
  if (!active) return;
  const int out_channel = group * s.out_group + channel;
#pragma unroll
  for (int j = 0; j < TQ; ++j) {
    const int col = out_col + j * step;
    if (col >= s.out_w) continue;
    float* pixel = out + (out_row * s.out_w + col) * s.out_c + out_channel;
#pragma unroll
    for (int c = 0; c < TC; ++c)
      if (channel + c < s.out_group) pixel[c] = sum[j][c] + (bias ? bias[out_channel + c] : 0.f);
  }
}

// y = conv(x, weight) + bias.
template <int TC>
__global__ void __launch_bounds__(THREADS)
    conv2d_forward_direct_kernel(const float* x, const float* weight, const float* bias, float* y, ConvShape conv,
                                 Sweep s) {
  sweep<false, TC>(x, weight, bias, y, conv, s);
}

// dx[n,h,w,c] = sum of dy[n,p,q,k] * weight[k,r,s,c] over all (p,q) and (r,s) that meet (h,w).
template <int TC>
__global__ void __launch_bounds__(THREADS)
    conv2d_backward_data_direct_kernel(const float* dy, const float* weight, float* dx, ConvShape conv, Sweep s) {
  sweep<true, TC>(dy, weight, nullptr, dx, conv, s);
}

// Completes a sweep whose images are set, and returns its grid.
dim3 plan(Sweep& s, const ConvShape& conv, int TC, int step, int images) {
  s.slots = conv.groups * ceil_div(s.out_group, TC);
  while (s.block_slots < s.slots && s.block_slots < 32 && s.block_slots * TC < BLOCK_C) s.block_slots *= 2;
  s.row_runs = step * ceil_div(ceil_div(s.out_w, step), TQ);
  s.runs = static_cast<int64_t>(images) * s.out_h * s.row_runs;
  const int64_t blocks = ceil_div<int64_t>(s.runs, THREADS / s.block_slots);
  return dim3(static_cast<unsigned>(blocks), ceil_div(s.slots, s.block_slots));
}

// Calls f<TC> with as many channels a thread as the group has use for.
template <class F>
void with_channels(int group, F f) {
  if (group == 1) f.template operator()<1>();
  else if (group <= 4) f.template operator()<4>();
  else f.template operator()<8>();
}

void conv2d_forward_direct(Image x, Image weight, Maybe<View<const float, 1>> bias, ImageOut y, Pair stride,
                           Pair padding, Pair dilation, int groups) {
  const ConvShape conv = conv_shape(x, weight, y.dim, stride, padding, dilation, groups);
  Sweep s{.in_h = conv.H,
          .in_w = conv.W,
          .in_c = conv.C,
          .in_group = conv.group_c(),
          .out_h = conv.P,
          .out_w = conv.Q,
          .out_c = conv.K,
          .out_group = conv.group_k(),
          .weight_in = 1,
          .weight_out = conv.filter_size()};
  with_channels(s.out_group, [&]<int TC>() {
    const dim3 grid = plan(s, conv, TC, 1, conv.N);
    launch(conv2d_forward_direct_kernel<TC>, grid, THREADS, 0, x.data, weight.data, bias.data, y.data, conv, s);
  });
}
GPUDL_EXPORT(conv2d_forward_direct, x, weight, bias, y, stride, padding, dilation, groups);

void data_gradient(Image dy, Image weight, ImageOut dx, const ConvShape& conv) {
  Sweep s{.in_h = conv.P,
          .in_w = conv.Q,
          .in_c = conv.K,
          .in_group = conv.group_k(),
          .out_h = conv.H,
          .out_w = conv.W,
          .out_c = conv.C,
          .out_group = conv.group_c(),
          .weight_in = conv.filter_size(),
          .weight_out = 1};
  with_channels(s.out_group, [&]<int TC>() {
    const dim3 grid = plan(s, conv, TC, conv.stride.w, conv.N);
    launch(conv2d_backward_data_direct_kernel<TC>, grid, THREADS, 0, dy.data, weight.data, dx.data, conv, s);
  });
}

// -------------------------------------------------------------------------------------------------- weight gradient

// partial[split,k,r,s,c] = sum over the split's pixels (n,p,q) of dy[n,p,q,k] * x[n,h,w,c].
// Grid: (items / PIXEL_COLUMNS, splits); an item is a tap, a slot of TK filters of one group and a channel c of it, the
// last fastest, so that neighbours read neighbouring channels. Block: PIXEL_COLUMNS items x PIXEL_LANES; a lane takes
// every PIXEL_LANES-th pixel, then lanes are added in order.
template <int TK>
__global__ void __launch_bounds__(PIXEL_COLUMNS* PIXEL_LANES)
    conv2d_backward_weight_direct_kernel(const float* dy, const float* x, float* partial, ConvShape conv) {
  GPUDL_SHARED(float, lanes, [PIXEL_LANES][TK][PIXEL_COLUMNS]);
  const int group_slots = ceil_div(conv.group_k(), TK);
  const int tap_items = conv.groups * group_slots * conv.group_c();
  const int64_t item = static_cast<int64_t>(blockIdx.x) * PIXEL_COLUMNS + threadIdx.x;
  const bool active = item < static_cast<int64_t>(conv.R) * conv.S * tap_items;
  const int tap = static_cast<int>(item / tap_items);
  const int slot = static_cast<int>(item % tap_items) / conv.group_c(), c = static_cast<int>(item % conv.group_c());
  const int group = slot / group_slots, first_k = slot % group_slots * TK;  // within the group
  const int filters = min(TK, conv.group_k() - first_k);
  const int row_shift = tap / conv.S * conv.dilation.h - conv.padding.h;
  const int col_shift = tap % conv.S * conv.dilation.w - conv.padding.w;

  float sum[TK] = {};
  const PixelRange range = pixel_range(conv.pixels(), blockIdx.y, gridDim.y);
  int64_t m = range.first + threadIdx.y;
  int q = static_cast<int>(m % conv.Q), p = static_cast<int>(m / conv.Q % conv.P);
  int64_t n = m / conv.Q / conv.P;
  for (; active && m < range.last; m += PIXEL_LANES) {
    const int h = p * conv.stride.h + row_shift, w = q * conv.stride.w + col_shift;
    if (h >= 0 && h < conv.H && w >= 0 && w < conv.W) {
      const float v = x[((n * conv.H + h) * conv.W + w) * conv.C + group * conv.group_c() + c];
      const float* d = dy + m * conv.K + group * conv.group_k() + first_k;
#pragma unroll
      for (int k = 0; k < TK; ++k)
        if (k < filters) sum[k] += v * d[k];
    }
    for (q += PIXEL_LANES; q >= conv.Q; q -= conv.Q)
      if (++p == conv.P) p = 0, ++n;
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

void weight_gradient(Image dy, Image x, ImageOut dweight, const ConvShape& conv, int splits, float* workspace) {
  with_channels(conv.group_k(), [&]<int TK>() {
    const int64_t items = int64_t{conv.groups} * ceil_div(conv.group_k(), TK) * conv.filter_size();
    const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(items, PIXEL_COLUMNS)), splits);
    launch(conv2d_backward_weight_direct_kernel<TK>, grid, dim3(PIXEL_COLUMNS, PIXEL_LANES), 0, dy.data, x.data,
           workspace, conv);
  });
  add_splits(workspace, dweight.data, conv.weights(), splits, conv.weights());
}

// The workspace holds one copy of the weights' gradient, and of the bias's, for each split of the pixels.
void conv2d_backward_direct(Image dy, Image x, Image weight, Maybe<ImageOut> dx, Maybe<ImageOut> dweight,
                            Maybe<View<float, 1>> dbias, View<float, 1> workspace, Pair stride, Pair padding,
                            Pair dilation, int groups) {
  const ConvShape conv = conv_shape(x, weight, dy.dim, stride, padding, dilation, groups);
  const int splits = static_cast<int>(workspace.size() / conv.weights());
  if (dx) data_gradient(dy, weight, dx, conv);
  if (dweight) weight_gradient(dy, x, dweight, conv, splits, workspace.data);
  if (dbias) channel_sums(dy.data, dbias.data, conv.pixels(), conv.K, splits, workspace.data);
}
GPUDL_EXPORT(conv2d_backward_direct, dy, x, weight, dx, dweight, dbias, workspace, stride, padding, dilation, groups);

}  // namespace
}  // namespace gpudl
