// Convolution in one, two or three dimensions, always with three spatial axes D, H, W: missing axes have extent 1.
// Images are {N,D,H,W,C}, weights {K,T,R,S,C/groups}, outputs {N,O,P,Q,K}.
#pragma once
#include "core/check.h"
#include "core/view.h"

namespace gpudl {

template <class T>
GPUDL_HD constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

// Along one axis, output o reads the image at o*stride - padding + tap*dilation, for tap < window.
struct ConvAxis {
  int image, window, output;
  int stride, padding, dilation;
};

// The sizes of a convolution, as one kernel argument.
struct ConvShape {
  int N, C, K, groups;
  ConvAxis d, h, w;

  GPUDL_HD int group_c() const { return C / groups; }
  GPUDL_HD int group_k() const { return K / groups; }
  GPUDL_HD int taps() const { return d.window * h.window * w.window; }
  GPUDL_HD int filter_size() const { return taps() * group_c(); }
  GPUDL_HD int64_t weights() const { return static_cast<int64_t>(K) * filter_size(); }
  GPUDL_HD int image_pixels() const { return d.image * h.image * w.image; }
  GPUDL_HD int output_pixels() const { return d.output * h.output * w.output; }
  GPUDL_HD int64_t pixels() const { return static_cast<int64_t>(N) * output_pixels(); }
};

// Whether windows of one tap read every image element once, so that outputs and image have the same layout.
inline bool is_pointwise(const ConvShape& conv) {
  const auto once = [](const ConvAxis& a) { return a.window * a.stride == 1 && a.image == a.output && a.padding == 0; };
  return once(conv.d) && once(conv.h) && once(conv.w);
}

// image, weight, output: dimensions in memory order.
inline ConvShape conv_shape(const int* image, const int* weight, const int* output, Triple stride, Triple padding,
                            Triple dilation, int groups) {
  check(groups > 0 && weight[4] * groups == image[4] && weight[0] % groups == 0, "weight",
        "has (outputs, channels per group) " + std::to_string(weight[0]) + ", " + std::to_string(weight[4]) +
            ", which does not fit " + std::to_string(image[4]) + " channels in " + std::to_string(groups) + " groups");
  check(output[0] == image[0] && output[4] == weight[0], "y",
        "does not have the images of x and the outputs of weight");
  return {image[0],
          image[4],
          weight[0],
          groups,
          {image[1], weight[1], output[1], stride.d, padding.d, dilation.d},
          {image[2], weight[2], output[2], stride.h, padding.h, dilation.h},
          {image[3], weight[3], output[3], stride.w, padding.w, dilation.w}};
}

// -------------------------------------------------------------------------------- sweeps
// Outputs and data gradients are both sums over taps and channels of elements times weights. A sweep computes some of
// them: all outputs of a convolution, or the elements of an image's gradient with the same remainder modulo the stride,
// which use the same taps.

// Along one axis, result i, at first + i*step of the target, is a sum over tap < taps of the source element
// source_first + i*source_step + tap*tap_step times the weight weight_first + tap*weight_step.
struct SweepAxis {
  int results, first, step, extent;              // of the target
  int source_extent, source_first, source_step;  // of the source
  int taps, tap_step, weight_first, weight_step, window;

  GPUDL_HD int source(int i, int tap) const { return source_first + i * source_step + tap * tap_step; }
  GPUDL_HD int weight(int tap) const { return weight_first + tap * weight_step; }
};

struct Sweep {
  int N, groups;
  int from_c, to_c;        // channels per group of the source and of the target
  int from_step, to_step;  // strides of these channels in the weights
  SweepAxis d, h, w;

  GPUDL_HD int taps() const { return d.taps * h.taps * w.taps; }
  GPUDL_HD int results() const { return d.results * h.results * w.results; }  // per image
  GPUDL_HD int depth() const { return taps() * from_c; }                      // terms per result
  GPUDL_HD int source_pixels() const { return d.source_extent * h.source_extent * w.source_extent; }
  GPUDL_HD int pixels() const { return d.extent * h.extent * w.extent; }
  // Offsets of the weights of a group, and of a tap.
  GPUDL_HD int group_weights() const { return d.window * h.window * w.window * from_c * to_c; }
  GPUDL_HD int tap_weight(int t, int r, int s) const {
    return ((d.weight(t) * h.window + h.weight(r)) * w.window + w.weight(s)) * (from_step == 1 ? from_c : to_c);
  }
};

inline SweepAxis forward_axis(const ConvAxis& a) {
  return {a.output, 0, 1, a.output, a.image, -a.padding, a.stride, a.window, a.dilation, 0, 1, a.window};
}

inline Sweep forward_sweep(const ConvShape& conv) {
  return {conv.N,
          conv.groups,
          conv.group_c(),
          conv.group_k(),
          1,
          conv.filter_size(),
          forward_axis(conv.d),
          forward_axis(conv.h),
          forward_axis(conv.w)};
}

inline int greatest_divisor(int a, int b) { return b == 0 ? a : greatest_divisor(b, a % b); }

// Image elements first + i*stride are read by output (first + i*stride + padding - tap*dilation) / stride if that is an
// integer: for every (stride/common)-th tap or none, with common = gcd(stride, dilation). taps = 0: for none.
inline SweepAxis gradient_axis(const ConvAxis& a, int first) {
  const int common = greatest_divisor(a.stride, a.dilation), step = a.stride / common;
  int tap = 0;
  while (tap < step && (first + a.padding - tap * a.dilation) % a.stride != 0) ++tap;
  const bool met = tap < step && tap < a.window;
  return {first < a.image ? ceil_div(a.image - first, a.stride) : 0,
          first,
          a.stride,
          a.image,
          a.output,
          met ? (first + a.padding - tap * a.dilation) / a.stride : 0,
          1,
          met ? ceil_div(a.window - tap, step) : 0,
          -a.dilation / common,
          tap,
          step,
          a.window};
}

// Call f(sweep) for the sweeps that together give the image's gradient. Sweeps without taps give zeros.
template <class F>
void each_gradient_sweep(const ConvShape& conv, F f) {
  for (int d = 0; d < conv.d.stride; ++d)
    for (int h = 0; h < conv.h.stride; ++h)
      for (int w = 0; w < conv.w.stride; ++w) {
        const Sweep sweep{conv.N,
                          conv.groups,
                          conv.group_k(),
                          conv.group_c(),
                          conv.filter_size(),
                          1,
                          gradient_axis(conv.d, d),
                          gradient_axis(conv.h, h),
                          gradient_axis(conv.w, w)};
        if (sweep.results() > 0) f(sweep);
      }
}

}  // namespace gpudl
