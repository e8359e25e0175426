// Losses of pairs, elementwise in d = x - target, summed in two steps of fixed order.
#include <algorithm>

#include "core/export.h"
#include "prim/elementwise.h"
#include "prim/reduce.h"

namespace gpudl {
namespace {

using prim::Flat;
using Workspace = View<float, 1>;

constexpr int BLOCK = 256;
constexpr int MAX_PARTS = 256;  // blocks of the first step; the second reads one sum of each

struct Mse {
  GPUDL_DEVICE static float value(float d) { return d * d; }
  GPUDL_DEVICE static float slope(float d) { return 2 * d; }
};

struct L1 {
  GPUDL_DEVICE static float value(float d) { return fabsf(d); }
  GPUDL_DEVICE static float slope(float d) { return d > 0 ? 1.f : d < 0 ? -1.f : d; }  // NaN passes
};

template <class Loss>
struct Value {
  GPUDL_DEVICE float operator()(float x, float target) const { return Loss::value(x - target); }
};

// Of the reduced loss: dy is one number, on the device.
template <class Loss>
struct ReducedSlope {
  const float* dy;
  float scale;
  GPUDL_DEVICE float operator()(float x, float target) const { return Loss::slope(x - target) * scale * *dy; }
};

template <class Loss>
struct Slope {
  float sign;
  GPUDL_DEVICE float operator()(float x, float target, float dy) const { return Loss::slope(x - target) * sign * dy; }
};

// part[block] = the sum of the block's losses. Grid: up to MAX_PARTS blocks, which stride over all elements.
// sass: loss_part_kernel SHFL registers<=48
template <class Loss>
__global__ void __launch_bounds__(BLOCK, 4)
    loss_part_kernel(Flat<const float> x, Flat<const float> target, float* part) {
  const int64_t n = x.size(), stride = static_cast<int64_t>(gridDim.x) * BLOCK;
  float sum = 0;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * BLOCK + threadIdx.x; i < n; i += stride) {
    sum += Loss::value(x.data[i] - target.data[i]);
  }
  sum = prim::block_reduce<BLOCK>(sum, prim::Sum{});
  if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

// y = the sum of the parts, over `divisor`. One block.
// sass: loss_total_kernel SHFL registers<=40
__global__ void __launch_bounds__(MAX_PARTS, 4)
    loss_total_kernel(const float* part, int parts, float divisor, float* y) {
  const float mine = static_cast<int>(threadIdx.x) < parts ? part[threadIdx.x] : 0.f;
  const float sum = prim::block_reduce<MAX_PARTS>(mine, prim::Sum{});
  if (threadIdx.x == 0) *y = sum / divisor;
}

template <class Loss>
void forward(Flat<const float> x, Flat<const float> target, Flat<float> y, Workspace workspace, bool reduced,
             bool averaged) {
  if (!reduced) return prim::map(Value<Loss>{}, y, x, target);
  const int64_t n = x.size();
  const int parts = static_cast<int>(std::min<int64_t>((n + 4 * BLOCK - 1) / (4 * BLOCK), MAX_PARTS));
  launch(loss_part_kernel<Loss>, parts, BLOCK, 0, x, target, workspace.data);
  launch(loss_total_kernel, 1, MAX_PARTS, 0, workspace.data, parts, averaged ? static_cast<float>(n) : 1.f, y.data);
}

template <class Loss>
void backward(Flat<const float> x, Flat<const float> target, Flat<const float> dy, Maybe<Flat<float>> dx,
              Maybe<Flat<float>> dtarget, bool reduced, bool averaged) {
  const float scale = averaged ? 1.f / static_cast<float>(x.size()) : 1.f;
  const auto one = [&](Flat<float> out, float sign) {
    if (reduced) prim::map(ReducedSlope<Loss>{dy.data, sign * scale}, out, x, target);
    else prim::map(Slope<Loss>{sign}, out, x, target, dy);
  };
  if (dx) one(dx, 1);
  if (dtarget) one(dtarget, -1);
}

void mse_loss_forward_flat(Flat<const float> x, Flat<const float> target, Flat<float> y, Workspace workspace,
                           bool reduced, bool averaged) {
  forward<Mse>(x, target, y, workspace, reduced, averaged);
}
GPUDL_EXPORT(mse_loss_forward_flat, x, target, y, workspace, reduced, averaged);

void mse_loss_backward_flat(Flat<const float> x, Flat<const float> target, Flat<const float> dy, Maybe<Flat<float>> dx,
                            Maybe<Flat<float>> dtarget, bool reduced, bool averaged) {
  backward<Mse>(x, target, dy, dx, dtarget, reduced, averaged);
}
GPUDL_EXPORT(mse_loss_backward_flat, x, target, dy, dx, dtarget, reduced, averaged);

void l1_loss_forward_flat(Flat<const float> x, Flat<const float> target, Flat<float> y, Workspace workspace,
                          bool reduced, bool averaged) {
  forward<L1>(x, target, y, workspace, reduced, averaged);
}
GPUDL_EXPORT(l1_loss_forward_flat, x, target, y, workspace, reduced, averaged);

void l1_loss_backward_flat(Flat<const float> x, Flat<const float> target, Flat<const float> dy, Maybe<Flat<float>> dx,
                           Maybe<Flat<float>> dtarget, bool reduced, bool averaged) {
  backward<L1>(x, target, dy, dx, dtarget, reduced, averaged);
}
GPUDL_EXPORT(l1_loss_backward_flat, x, target, dy, dx, dtarget, reduced, averaged);

}  // namespace
}  // namespace gpudl
