// y = x where x > 0, else weight·x, the weight one for all or one a channel. Arrays are channels-last: rows of
// channels. The weights' gradient is summed in two stages of fixed order.
#include "core/export.h"
#include "prim/map_sum.h"
#include "prim/pixel_sums.h"

namespace gpudl {
namespace {

using prim::Flat;
using Activations = View<const float, 5, nhwc>;

// sass: map_kernel LDG STG registers<=48

struct Slope {
  const float* weight;
  uint32_t channels;  // 1 where one weight serves all
  GPUDL_DEVICE float operator()(int64_t i) const { return weight[static_cast<uint32_t>(i) % channels]; }
};

struct Prelu {
  Slope slope;
  GPUDL_DEVICE float operator()(int64_t i, float x) const { return x > 0 ? x : x * slope(i); }
};

struct PreluGradient {
  Slope slope;
  GPUDL_DEVICE float operator()(int64_t i, float dy, float x) const { return x > 0 ? dy : dy * slope(i); }
};

struct WeightGradient {
  GPUDL_DEVICE float operator()(int64_t, float dy, float x) const { return x > 0 ? 0.f : dy * x; }
};

// partial[split][c] = sum over the split's pixels of dy·x where x is not positive. Grid: (channels / PIXEL_COLUMNS,
// splits). Block: PIXEL_COLUMNS x PIXEL_LANES; a lane takes every PIXEL_LANES-th pixel, then lanes are added in order.
// sass: prelu_weight_kernel LDG registers<=40
__global__ void __launch_bounds__(PIXEL_COLUMNS* PIXEL_LANES)
    prelu_weight_kernel(const float* dy, const float* x, float* partial, int64_t pixels, int channels) {
  GPUDL_SHARED(float, lanes, [PIXEL_LANES][PIXEL_COLUMNS]);
  const int c = blockIdx.x * PIXEL_COLUMNS + threadIdx.x;
  const PixelRange range = pixel_range(pixels, blockIdx.y, gridDim.y);
  float sum = 0;
  if (c < channels)
    for (int64_t m = range.first + threadIdx.y; m < range.last; m += PIXEL_LANES)
      sum += WeightGradient{}(m, dy[m * channels + c], x[m * channels + c]);
  lanes[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || c >= channels) return;
  for (int lane = 1; lane < PIXEL_LANES; ++lane) sum += lanes[lane][threadIdx.x];
  partial[static_cast<int64_t>(blockIdx.y) * channels + c] = sum;
}

template <class V>
Flat<std::remove_pointer_t<decltype(V::data)>> flat(const V& view) {
  return {view.data, {static_cast<int>(view.size())}};
}

Slope slope_of(View<const float, 1> weight) { return {weight.data, static_cast<uint32_t>(weight.dim[0])}; }

void prelu_forward_flat(Activations x, View<const float, 1> weight, View<float, 5, nhwc> y) {
  prim::map_indexed(Prelu{slope_of(weight)}, flat(y), flat(x));
}
GPUDL_EXPORT(prelu_forward_flat, x, weight, y);

void prelu_backward_flat(Activations dy, Activations x, View<const float, 1> weight, Maybe<View<float, 5, nhwc>> dx,
                         Maybe<View<float, 1>> dweight, View<float, 1> workspace) {
  if (dx) prim::map_indexed(PreluGradient{slope_of(weight)}, flat<View<float, 5, nhwc>>(dx), flat(dy), flat(x));
  if (!dweight) return;
  if (weight.dim[0] == 1) {
    prim::map_sum(WeightGradient{}, dweight.data, 1.f, workspace.data, flat(dy), flat(x));
    return;
  }
  const int channels = weight.dim[0];
  const int64_t pixels = x.size() / channels;
  const int splits = channel_splits(pixels, workspace.dim[0] / channels);
  launch(prelu_weight_kernel, dim3((channels + PIXEL_COLUMNS - 1) / PIXEL_COLUMNS, splits),
         dim3(PIXEL_COLUMNS, PIXEL_LANES), 0, dy.data, x.data, workspace.data, pixels, channels);
  add_splits(workspace.data, dweight.data, channels, splits, channels);
}
GPUDL_EXPORT(prelu_backward_flat, dy, x, weight, dx, dweight, workspace);

}  // namespace
}  // namespace gpudl
