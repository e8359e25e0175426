// max_pool(relu(convolution + bias)) of images in one pass, for small networks, where launches and memory traffic
// dominate: the convolution's output, pool.h * pool.w times larger than y, is never written. Pooling windows do not
// overlap. Direct, in float32: for few channels.
//
// sass: conv_relu_max_pool_kernel FFMA registers<=128
#include "core/export.h"
#include "ops/conv/conv_direct.h"
#include "platform/device.h"

namespace gpudl {
namespace {

constexpr int THREADS = 128;
constexpr int POSITIONS = 4;  // positions of a pooling window computed together
constexpr int DEPTH = 64;     // terms whose weights are in shared memory at a time
constexpr int BLOCK_C = 64;   // most channels that one block computes

struct Pooling {
  Pair window;
  int P, Q;                        // extents of y
  int slots = 0, block_slots = 1;  // runs of channels: in all, and per block
};

// Relative to a window's first element.
struct alignas(16) Tap {
  int row, column, channel, weight;
};

// y[n,i,j,k] = relu(max over (u,v) of conv[n, i*pool.h + u, j*pool.w + v, k] + bias[k]), argmax the number u*pool.w + v
// of the first maximum, or of the last NaN if there is one. A thread computes TC channels of one (n,i,j).
// Grid: (pooled pixels, slots of channels). Block: THREADS = block_slots x (pixels).
template <int TC>
__global__ void __launch_bounds__(THREADS)
    conv_relu_max_pool_kernel(const float* x, const float* weight, const float* bias, float* y, uint8_t* argmax,
                              ConvShape conv, Pooling pool) {
  GPUDL_SHARED(float, weights, [DEPTH][BLOCK_C]);
  GPUDL_SHARED(Tap, taps, [DEPTH]);
  const int group_slots = ceil_div(conv.group_k(), TC), first_slot = blockIdx.y * pool.block_slots;
  const int my_slot = threadIdx.x % pool.block_slots, slot = first_slot + my_slot;
  const int64_t pixel =
      static_cast<int64_t>(blockIdx.x) * (THREADS / pool.block_slots) + threadIdx.x / pool.block_slots;
  const bool active = slot < pool.slots && pixel < static_cast<int64_t>(conv.N) * pool.P * pool.Q;
  const int group = slot / group_slots, channel = slot % group_slots * TC;  // within the group
  const int top = static_cast<int>(pixel / pool.Q % pool.P) * pool.window.h * conv.h.stride - conv.h.padding;
  const int left = static_cast<int>(pixel % pool.Q) * pool.window.w * conv.w.stride - conv.w.padding;
  const float* image = x + pixel / pool.Q / pool.P * conv.image_pixels() * conv.C + group * conv.group_c();

  float best[TC];
  int place[TC];
  const int window = pool.window.h * pool.window.w, depth = conv.filter_size();
  for (int first = 0; first < window; first += POSITIONS) {
    float sum[POSITIONS][TC] = {};
    for (int start = 0; start < depth; start += DEPTH) {
      const int count = min(DEPTH, depth - start), width = pool.block_slots * TC;
      __syncthreads();
      for (int i = threadIdx.x; i < count * width; i += THREADS) {
        const int e = i / width, from = first_slot + i % width / TC, c = from % group_slots * TC + i % width % TC;
        const int tap = (start + e) / conv.group_c();
        if (i % width == 0)
          taps[e] = {tap / conv.w.window * conv.h.dilation, tap % conv.w.window * conv.w.dilation,
                     (start + e) % conv.group_c(), 0};
        const bool there = from < pool.slots && c < conv.group_k();
        const int64_t filter = static_cast<int64_t>(from / group_slots) * conv.group_k() + c;
        weights[e][i % width] = there ? weight[filter * depth + start + e] : 0.f;
      }
      __syncthreads();
      if (!active) continue;
      for (int e = 0; e < count; ++e) {
        const Tap at = taps[e];
        float w[TC];
        for (int c = 0; c < TC; ++c) w[c] = weights[e][my_slot * TC + c];
#pragma unroll
        for (int j = 0; j < POSITIONS; ++j) {
          const int row = top + at.row + (first + j) / pool.window.w * conv.h.stride;
          const int column = left + at.column + (first + j) % pool.window.w * conv.w.stride;
          if (row < 0 || row >= conv.h.image || column < 0 || column >= conv.w.image) continue;
          const float v = image[(row * conv.w.image + column) * conv.C + at.channel];
#pragma unroll
          for (int c = 0; c < TC; ++c) sum[j][c] += v * w[c];
        }
      }
    }
#pragma unroll
    for (int j = 0; j < POSITIONS; ++j)
#pragma unroll
      for (int c = 0; c < TC; ++c)
        if (first + j < window && (first + j == 0 || sum[j][c] > best[c] || sum[j][c] != sum[j][c])) {
          best[c] = sum[j][c];
          place[c] = first + j;
        }
  }
  if (!active) return;
#pragma unroll
  for (int c = 0; c < TC; ++c) {
    if (channel + c >= conv.group_k()) continue;
    const int k = group * conv.group_k() + channel + c;
    const float value = best[c] + (bias != nullptr ? bias[k] : 0.f);
    y[pixel * conv.K + k] = value <= 0 ? 0.f : value;  // NaN propagates
    argmax[pixel * conv.K + k] = static_cast<uint8_t>(place[c]);
  }
}

// The convolution's gradient: dy at the maximum of each window unless ReLU clipped it, 0 elsewhere.
// Grid: one thread per element of dz, {N, P*pool.h, Q*pool.w, K}.
constexpr int SPREAD_BLOCK = 256;
__global__ void __launch_bounds__(SPREAD_BLOCK)
    conv_relu_max_pool_spread_kernel(const float* dy, const float* y, const uint8_t* argmax, float* dz, int64_t size,
                                     int K, Pooling pool) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * SPREAD_BLOCK + threadIdx.x;
  if (i >= size) return;
  const int64_t pixel = i / K;
  const int width = pool.Q * pool.window.w, height = pool.P * pool.window.h;
  const int q = static_cast<int>(pixel % width), p = static_cast<int>(pixel / width % height);
  const int64_t kept = ((pixel / width / height * pool.P + p / pool.window.h) * pool.Q + q / pool.window.w) * K + i % K;
  const bool largest = argmax[kept] == p % pool.window.h * pool.window.w + q % pool.window.w;
  dz[i] = largest && !(y[kept] <= 0) ? dy[kept] : 0.f;
}

// The convolution restricted to the outputs inside pooling windows.
ConvShape pooled_shape(Volume<const float> x, Volume<const float> weight, const int* y, Pair pool, Triple stride,
                       Triple padding, Triple dilation, int groups) {
  const int outputs[5] = {y[0], 1, y[2] * pool.h, y[3] * pool.w, y[4]};
  return conv_shape(x.dim, weight.dim, outputs, stride, padding, dilation, groups);
}

void conv_relu_max_pool2d_forward_direct(Volume<const float> x, Volume<const float> weight,
                                         Maybe<View<const float, 1>> bias, Volume<float> y, Volume<uint8_t> argmax,
                                         Triple stride, Triple padding, Triple dilation, int groups, Pair pool) {
  const ConvShape conv = pooled_shape(x, weight, y.dim, pool, stride, padding, dilation, groups);
  Pooling pooling{pool, y.dim[2], y.dim[3]};
  with_channels(conv.group_k(), [&]<int TC>() {
    pooling.slots = conv.groups * ceil_div(conv.group_k(), TC);
    int& block = pooling.block_slots;
    while (block < pooling.slots && block < 32 && block * TC < BLOCK_C) block *= 2;
    const int64_t pixels = int64_t{1} * conv.N * pooling.P * pooling.Q;
    const dim3 grid(static_cast<unsigned>(ceil_div<int64_t>(pixels, THREADS / block)), ceil_div(pooling.slots, block));
    launch(conv_relu_max_pool_kernel<TC>, grid, THREADS, 0, x.data, weight.data, bias.data, y.data, argmax.data, conv,
           pooling);
  });
}
GPUDL_EXPORT(conv_relu_max_pool2d, forward, direct, x, weight, bias, y, argmax, stride, padding, dilation, groups,
             pool);

// The workspace starts with the convolution's gradient.
void conv_relu_max_pool2d_backward_direct(Volume<const float> dy, Volume<const float> x, Volume<const float> weight,
                                          Volume<const float> y, Volume<const uint8_t> argmax, Maybe<Volume<float>> dx,
                                          Maybe<Volume<float>> dweight, Maybe<View<float, 1>> dbias,
                                          Workspace workspace, Triple stride, Triple padding, Triple dilation,
                                          int groups, Pair pool) {
  const ConvShape conv = pooled_shape(x, weight, y.dim, pool, stride, padding, dilation, groups);
  const int64_t size = conv.pixels() * conv.K;
  check(workspace.size() >= size, "workspace", "is too small for the convolution's gradient");
  float* dz = workspace.data;
  workspace = {dz + size, {static_cast<int>(workspace.size() - size)}};
  launch(conv_relu_max_pool_spread_kernel, dim3(static_cast<unsigned>(ceil_div<int64_t>(size, SPREAD_BLOCK))),
         SPREAD_BLOCK, 0, dy.data, y.data, argmax.data, dz, size, conv.K, Pooling{pool, y.dim[2], y.dim[3]});
  if (dx) Direct::data_gradient(conv, dz, weight.data, dx.data, {}, workspace);
  if (dweight) Direct::weight_gradient(conv, dz, x.data, dweight.data, workspace);
  if (dbias) prim::column_sums<float>(dz, conv.pixels(), conv.K, dbias.data, workspace);
}

// As for the gradients of the whole convolution, including outputs outside all windows.
int64_t conv_relu_max_pool2d_backward_workspace(Volume<const float> x, Volume<const float> weight,
                                                Volume<const float> y, Triple stride, Triple padding, Triple dilation,
                                                int groups, Pair pool) {
  const auto outputs = [](int image, int window, int stride, int padding, int dilation) {
    return (image + 2 * padding - dilation * (window - 1) - 1) / stride + 1;
  };
  const int all[5] = {y.dim[0], 1, outputs(x.dim[2], weight.dim[2], stride.h, padding.h, dilation.h),
                      outputs(x.dim[3], weight.dim[3], stride.w, padding.w, dilation.w), y.dim[4]};
  const ConvShape conv = conv_shape(x.dim, weight.dim, all, stride, padding, dilation, groups);
  return y.size() * pool.h * pool.w + conv_sums_workspace<Direct>(conv);
}
GPUDL_EXPORT(conv_relu_max_pool2d, backward, direct, dy, x, weight, y, argmax, dx, dweight, dbias, workspace, stride,
             padding, dilation, groups, pool)
    .workspace<conv_relu_max_pool2d_backward_workspace>("x, weight, y, stride, padding, dilation, groups, pool");

}  // namespace
}  // namespace gpudl
