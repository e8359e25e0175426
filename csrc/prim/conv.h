// The sizes of a convolution, as one kernel argument.
#pragma once
#include "core/view.h"

namespace gpudl {

using Image = View<const float, 4, nhwc>;  // {N, H, W, C}; weights are {K, R, S, C/groups}
using ImageOut = View<float, 4, nhwc>;

// x (N,C,H,W), weight (K,C/groups,R,S), y (N,K,P,Q).
struct ConvShape {
  int N, C, H, W;
  int K, R, S;
  int P, Q;
  int groups;
  Pair stride, padding, dilation;

  GPUDL_HD int group_c() const { return C / groups; }
  GPUDL_HD int group_k() const { return K / groups; }
  GPUDL_HD int filter_size() const { return R * S * group_c(); }
  GPUDL_HD int64_t pixels() const { return static_cast<int64_t>(N) * P * Q; }
  GPUDL_HD int64_t weights() const { return static_cast<int64_t>(K) * filter_size(); }
};

// y: the dimensions of the output, in memory order.
inline ConvShape conv_shape(Image x, Image weight, const int* y, Pair stride, Pair padding, Pair dilation, int groups) {
  return {x.dim[0], x.dim[3], x.dim[1], x.dim[2], weight.dim[0], weight.dim[1], weight.dim[2],
          y[1],     y[2],     groups,   stride,   padding,       dilation};
}

template <class T>
GPUDL_HD constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

}  // namespace gpudl
