// y = x where x > 0, else weight·x, with one weight for all channels or one per channel. Arrays are channels-last: rows
// of channels. The gradient of the weights is summed in two stages of fixed order.
#include <algorithm>

#include "core/export.h"
#include "prim/column_sums.h"
#include "prim/map_sum.h"

namespace gpudl {
namespace {

using prim::Flat;
using Activations = View<const float, 5, nhwc>;

// sass: map_kernel LDG STG registers<=48
// sass: column_sums_kernel registers<=64

struct Slope {
  const float* weight;
  uint32_t channels;  // 1 if one weight serves all channels
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
  GPUDL_DEVICE float operator()(float dy, float x) const { return x > 0 ? 0.f : dy * x; }
  GPUDL_DEVICE float operator()(int64_t, float dy, float x) const { return (*this)(dy, x); }
};

template <class V>
Flat<std::remove_pointer_t<decltype(V::data)>> flat(const V& view) {
  return {view.data, {static_cast<int>(view.size())}};
}

Slope slope_of(View<const float, 1> weight) { return {weight.data, static_cast<uint32_t>(weight.dim[0])}; }

void prelu_forward_flat(Activations x, View<const float, 1> weight, View<float, 5, nhwc> y) {
  prim::map_indexed(Prelu{slope_of(weight)}, flat(y), flat(x));
}
GPUDL_EXPORT(prelu, forward, flat, x, weight, y);

void prelu_backward_flat(Activations dy, Activations x, View<const float, 1> weight, Maybe<View<float, 5, nhwc>> dx,
                         Maybe<View<float, 1>> dweight, View<float, 1> workspace) {
  if (dx) prim::map_indexed(PreluGradient{slope_of(weight)}, flat<View<float, 5, nhwc>>(dx), flat(dy), flat(x));
  if (!dweight) return;
  if (weight.dim[0] == 1) {
    prim::map_sum(WeightGradient{}, dweight.data, 1.f, workspace.data, flat(dy), flat(x));
    return;
  }
  const int channels = weight.dim[0];
  prim::column_sums(prim::PassSaved<float, WeightGradient>{x.data, {}}, dy.data, static_cast<float*>(nullptr),
                    x.size() / channels, channels, dweight.data, workspace);
}

// With one weight, the sums of the blocks; with one per channel, the sums of parts of 256 rows.
int64_t prelu_backward_workspace(Activations x, View<const float, 1> weight) {
  if (weight.dim[0] == 1) return prim::SUM_PARTS;
  const int64_t channels = x.dim[4], rows = x.size() / std::max<int64_t>(1, channels);
  return channels * std::clamp<int64_t>((rows + 255) / 256, 1, 4096);
}
GPUDL_EXPORT(prelu, backward, flat, dy, x, weight, dx, dweight, workspace)
    .workspace<prelu_backward_workspace>("x, weight");

}  // namespace
}  // namespace gpudl
