// Resampling of the spatial axes of channels-last volumes: nearest, linear and cubic, as products of one-dimensional
// weights, y[p,q] = sum over taps (i,j) of weight(p,i)·weight(q,j)·x[i,j].
// Grid: one thread for PACK neighbouring channels of one pixel of the array written (prim/volume.h). PACK is 4, or 1 if
// the number of channels is not a multiple of 4 or an array is not aligned to 16 bytes.
#include "core/export.h"
#include "prim/volume.h"

namespace gpudl {
namespace {

using namespace prim;

enum Method { NEAREST, NEAREST_EXACT, LINEAR, CUBIC };

constexpr float A = -0.75f;  // of the cubic convolution kernel: Keys 1981, with PyTorch's and OpenCV's parameter
GPUDL_DEVICE float cubic_near(float t) { return __fmaf_rn(__fmaf_rn(A + 2, t, -(A + 3)), t * t, 1.f); }
GPUDL_DEVICE float cubic_far(float t) { return ((A * t - 5 * A) * t + 8 * A) * t - 4 * A; }

// One axis of x and y: output p samples p·scale, or (p + 1/2)·scale - 1/2.
struct Axis {
  int size, outputs;
  float scale;
};

// The taps of one output: elements first, first + 1, … of an axis, clamped to the border.
template <int TAPS>
struct Taps {
  int first;
  float weight[TAPS];
};

template <int METHOD>
constexpr int taps_of = METHOD == CUBIC    ? 4
                        : METHOD == LINEAR ? 2
                                           : 1;

// Rounded at each step (no fused operation), so that all devices choose the same elements.
GPUDL_DEVICE float position(const Axis& axis, int p, bool corners) {
  const float at = __int2float_rn(p);
  return corners ? __fmul_rn(axis.scale, at) : __fsub_rn(__fmul_rn(axis.scale, __fadd_rn(at, 0.5f)), 0.5f);
}

template <int METHOD>
GPUDL_DEVICE Taps<taps_of<METHOD>> taps_at(const Axis& axis, int p, bool corners) {
  if constexpr (METHOD <= NEAREST_EXACT) {
    const float at = __fadd_rn(__int2float_rn(p), METHOD == NEAREST ? 0.f : 0.5f);
    return {min(__float2int_rd(__fmul_rn(at, axis.scale)), axis.size - 1), {1.f}};
  } else if constexpr (METHOD == LINEAR) {
    const float at = fmaxf(position(axis, p, corners), 0.f);
    const int first = min(__float2int_rd(at), axis.size - 1);
    const float right = fminf(fmaxf(__fsub_rn(at, __int2float_rn(first)), 0.f), 1.f);
    return {first, {1 - right, right}};
  } else {
    const float at = position(axis, p, corners), whole = floorf(at);
    const float t = fminf(fmaxf(__fsub_rn(at, whole), 0.f), 1.f);
    return {__float2int_rd(whole) - 1, {cubic_far(t + 1), cubic_near(t), cubic_near(1 - t), cubic_far(2 - t)}};
  }
}

GPUDL_DEVICE int inside(int i, const Axis& axis) { return min(max(i, 0), axis.size - 1); }

// The outputs that may have element i among their taps. Positions increase with p, so they are consecutive; one more on
// each side allows for rounding.
struct Range {
  int first, last;
};
template <int METHOD>
GPUDL_DEVICE Range outputs_of(const Axis& axis, int i, bool corners) {
  constexpr int REACH = METHOD == CUBIC ? 3 : 2;
  const float shift = corners || METHOD == NEAREST ? 0.f : 0.5f;
  const float step = axis.scale > 0 ? 1 / axis.scale : 0.f;
  const bool all = axis.scale <= 0;
  Range range{__float2int_rd((i - REACH + shift) * step - shift) - 1,
              __float2int_rd((i + REACH + shift) * step - shift) + 2};
  if (all || i == 0) range.first = 0;
  if (all || i >= axis.size - (METHOD == CUBIC ? 2 : 1)) range.last = axis.outputs - 1;
  if (METHOD == CUBIC && i <= 1) range.first = 0;
  return {max(range.first, 0), min(range.last, axis.outputs - 1)};
}

// The weight of element i in output p.
template <int METHOD>
GPUDL_DEVICE float weight_of(const Axis& axis, int p, int i, bool corners) {
  const auto taps = taps_at<METHOD>(axis, p, corners);
  float sum = 0;
#pragma unroll
  for (int t = 0; t < taps_of<METHOD>; ++t) sum += inside(taps.first + t, axis) == i ? taps.weight[t] : 0.f;
  return sum;
}

struct Axes {
  Axis d, h, w;
  bool corners;
};

// METHOD_D is NEAREST if there is only one plane, where any method reads a single element.
// sass: interpolate_forward_kernel LDG STG registers<=80
template <int PACK, int METHOD, int METHOD_D>
__global__ void __launch_bounds__(VOLUME_BLOCK, 3)
    interpolate_forward_kernel(Volume<const float> x, Volume<float> y, Axes axes, Places places) {
  const Place at = places.find<PACK>();
  if (!at.inside) return;
  const auto d = taps_at<METHOD_D>(axes.d, at.d, axes.corners);
  const auto h = taps_at<METHOD>(axes.h, at.h, axes.corners), w = taps_at<METHOD>(axes.w, at.w, axes.corners);
  Pack<float, PACK> sum{};
#pragma unroll
  for (int r = 0; r < taps_of<METHOD_D>; ++r) {
#pragma unroll
    for (int s = 0; s < taps_of<METHOD>; ++s) {
      const float* row = &x(at.n, inside(d.first + r, axes.d), inside(h.first + s, axes.h), 0, at.c);
#pragma unroll
      for (int t = 0; t < taps_of<METHOD>; ++t) {
        const auto here = load_pack<PACK>(row + static_cast<int64_t>(inside(w.first + t, axes.w)) * x.dim[4]);
        if constexpr (METHOD <= NEAREST_EXACT) {
          sum = here;
        } else {
          const float weight = d.weight[r] * h.weight[s] * w.weight[t];
#pragma unroll
          for (int i = 0; i < PACK; ++i) sum.at[i] += weight * here.at[i];
        }
      }
    }
  }
  store_pack(y.data + at.offset, sum);
}

// dx = sum of dy times the weight over the outputs that read the element, gathered in a fixed order.
// sass: interpolate_backward_kernel LDG STG registers<=80
template <int PACK, int METHOD, int METHOD_D>
__global__ void __launch_bounds__(VOLUME_BLOCK, 3)
    interpolate_backward_kernel(Volume<const float> dy, Volume<float> dx, Axes axes, Places places) {
  const Place at = places.find<PACK>();
  if (!at.inside) return;
  const Range depth = outputs_of<METHOD_D>(axes.d, at.d, axes.corners),
              rows = outputs_of<METHOD>(axes.h, at.h, axes.corners),
              columns = outputs_of<METHOD>(axes.w, at.w, axes.corners);
  Pack<float, PACK> sum{};
  for (int o = depth.first; o <= depth.last; ++o) {
    const float front = weight_of<METHOD_D>(axes.d, o, at.d, axes.corners);
    if (front == 0) continue;
    for (int p = rows.first; p <= rows.last; ++p) {
      const float down = front * weight_of<METHOD>(axes.h, p, at.h, axes.corners);
      if (down == 0) continue;
      const int64_t row = dy.offset(at.n, o, p, 0, at.c);
      for (int q = columns.first; q <= columns.last; ++q) {
        const float weight = down * weight_of<METHOD>(axes.w, q, at.w, axes.corners);
        if (weight == 0) continue;
        const auto gradient = load_pack<PACK>(dy.data + row + static_cast<int64_t>(q) * dy.dim[4]);
#pragma unroll
        for (int i = 0; i < PACK; ++i) sum.at[i] += weight * gradient.at[i];
      }
    }
  }
  store_pack(dx.data + at.offset, sum);
}

struct Scales {
  float d, h, w;
};

template <class X, class Y>
Axes axes_of(const Volume<X>& x, const Volume<Y>& y, Scales scale, bool corners) {
  return {{x.dim[1], y.dim[1], scale.d}, {x.dim[2], y.dim[2], scale.h}, {x.dim[3], y.dim[3], scale.w}, corners};
}

template <int METHOD, int METHOD_D>
void forward(Volume<const float> x, Volume<float> y, float scale_d, float scale_h, float scale_w, bool align_corners) {
  const bool four = four_channels(x.dim[4], x.data, y.data);
  const Places places(y, four ? 4 : 1);
  launch(four ? interpolate_forward_kernel<4, METHOD, METHOD_D> : interpolate_forward_kernel<1, METHOD, METHOD_D>,
         places.grid(), VOLUME_BLOCK, 0, x, y, axes_of(x, y, {scale_d, scale_h, scale_w}, align_corners), places);
}

template <int METHOD, int METHOD_D>
void backward(Volume<const float> dy, Volume<float> dx, float scale_d, float scale_h, float scale_w,
              bool align_corners) {
  const bool four = four_channels(dx.dim[4], dy.data, dx.data);
  const Places places(dx, four ? 4 : 1);
  launch(four ? interpolate_backward_kernel<4, METHOD, METHOD_D> : interpolate_backward_kernel<1, METHOD, METHOD_D>,
         places.grid(), VOLUME_BLOCK, 0, dy, dx, axes_of(dx, dy, {scale_d, scale_h, scale_w}, align_corners), places);
}

#define GPUDL_INTERPOLATE(op, algorithm, METHOD, METHOD_D)                              \
  constexpr auto& op##_forward_##algorithm = forward<METHOD, METHOD_D>;                 \
  GPUDL_EXPORT(op, forward, algorithm, x, y, scale_d, scale_h, scale_w, align_corners); \
  constexpr auto& op##_backward_##algorithm = backward<METHOD, METHOD_D>;               \
  GPUDL_EXPORT(op, backward, algorithm, dy, dx, scale_d, scale_h, scale_w, align_corners)

// One algorithm per method. linear_planes: x or y has more than one plane, with linear weights along them too.
GPUDL_INTERPOLATE(interpolate, nearest, NEAREST, NEAREST);
GPUDL_INTERPOLATE(interpolate, nearest_exact, NEAREST_EXACT, NEAREST_EXACT);
GPUDL_INTERPOLATE(interpolate, linear, LINEAR, NEAREST);
GPUDL_INTERPOLATE(interpolate, linear_planes, LINEAR, LINEAR);
GPUDL_INTERPOLATE(interpolate, cubic, CUBIC, NEAREST);

}  // namespace
}  // namespace gpudl
