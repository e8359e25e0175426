// Average and Lp pooling over windows of channels-last volumes, forward and backward.
// Grid: one thread for PACK neighbouring channels of one pixel of the array written (prim/volume.h). PACK is 4, or 1 if
// the number of channels is not a multiple of 4 or an array is not aligned to 16 bytes.
#include "core/export.h"
#include "ops/pool/pool.h"

namespace gpudl {
namespace {

using namespace prim;

// The factor of a window's sum.
struct Mean {
  bool count_padding;
  int fixed;  // divisor; 0: the window's size

  template <class Axis>
  GPUDL_DEVICE float of(const Windows<Axis>& windows, int d, int h, int w, const int* size) const {
    if (fixed != 0) return 1 / static_cast<float>(fixed);
    const int depth = windows.d.count(d, 0, size[1], count_padding),
              rows = windows.h.count(h, 0, size[2], count_padding);
    return 1 / (static_cast<float>(depth * rows) * static_cast<float>(windows.w.count(w, 0, size[3], count_padding)));
  }
};

GPUDL_DEVICE float power(float x, float exponent) {
  if (exponent == 2) return x * x;
  if (exponent == 1) return x;
  return powf(x, exponent);
}

// For the plain mean: elements and sums are unchanged.
struct Plain {
  GPUDL_DEVICE float enter(float x) const { return x; }
  GPUDL_DEVICE float leave(float sum) const { return sum; }
};

// For the power mean.
struct Power {
  float p;
  GPUDL_DEVICE float enter(float x) const { return power(x, p); }
  GPUDL_DEVICE float leave(float sum) const { return p == 2 ? sqrtf(sum) : power(sum, 1 / p); }
};

// y = leave(mean of enter(x) over each window); padding counts as zero.
// sass: pool_mean_forward_kernel LDG STG registers<=80
template <int PACK, class Function, class Axis>
__global__ void __launch_bounds__(VOLUME_BLOCK, Axis::BLOCKS)
    pool_mean_forward_kernel(Volume<const float> x, Volume<float> y, Windows<Axis> windows, Mean mean, float scale,
                             Function f, Places places) {
  const Place at = places.find<PACK>();
  if (!at.inside) return;
  const Span d = windows.d.span(at.d, x.dim[1]), h = windows.h.span(at.h, x.dim[2]), w = windows.w.span(at.w, x.dim[3]);
  Pack<float, PACK> sum{};
  for (int r = d.from; r < d.to; ++r) {
    for (int s = h.from; s < h.to; ++s) {
      const float* row = &x(at.n, d.at(r), h.at(s), 0, at.c);
      for (int t = w.from; t < w.to; ++t) {
        const auto here = load_pack<PACK>(row + static_cast<int64_t>(w.at(t)) * x.dim[4]);
#pragma unroll
        for (int i = 0; i < PACK; ++i) sum.at[i] += f.enter(here.at[i]);
      }
    }
  }
  const float share = scale * mean.of(windows, at.d, at.h, at.w, x.dim);
  for (float& value : sum.at) value = f.leave(value * share);
  store_pack(y.data + at.offset, sum);
}

// The gradient of each element of x: the sum of dy times the share over its windows, gathered.
// Visit: visit(offset of the window's output, share).
template <class Axis, class Visit>
GPUDL_DEVICE void visit_windows(const Place& at, const int* outputs, const int* size, const Windows<Axis>& windows,
                                const Mean& mean, Visit visit) {
  const Cover d = windows.d.cover(at.d, outputs[1], size[1]), h = windows.h.cover(at.h, outputs[2], size[2]),
              w = windows.w.cover(at.w, outputs[3], size[3]);
  for (int o = d.first; o <= d.last; ++o) {
    for (int p = h.first; p <= h.last; ++p) {
      const int64_t row = ((static_cast<int64_t>(at.n) * outputs[1] + o) * outputs[2] + p) * outputs[3];
      for (int q = w.first; q <= w.last; ++q) visit((row + q) * outputs[4] + at.c, mean.of(windows, o, p, q, size));
    }
  }
}

// sass: avg_pool_backward_kernel LDG STG registers<=80
template <int PACK, class Axis>
__global__ void __launch_bounds__(VOLUME_BLOCK, Axis::BLOCKS)
    avg_pool_backward_kernel(Volume<const float> dy, Volume<float> dx, Windows<Axis> windows, Mean mean,
                             Places places) {
  const Place at = places.find<PACK>();
  if (!at.inside) return;
  Pack<float, PACK> sum{};
  visit_windows(at, dy.dim, dx.dim, windows, mean, [&](int64_t from, float share) {
    const auto gradient = load_pack<PACK>(dy.data + from);
#pragma unroll
    for (int i = 0; i < PACK; ++i) sum.at[i] += gradient.at[i] * share;
  });
  store_pack(dx.data + at.offset, sum);
}

// dx = x^(p-1) times the sum of dy·y^(1-p)·share; windows with y = 0 give no gradient.
// sass: lp_pool_backward_kernel LDG STG registers<=80
template <int PACK>
__global__ void __launch_bounds__(VOLUME_BLOCK, 4)
    lp_pool_backward_kernel(Volume<const float> dy, Volume<const float> x, Volume<const float> y, Volume<float> dx,
                            Windows<Sliding> windows, Mean mean, float taps, float p, Places places) {
  const Place at = places.find<PACK>();
  if (!at.inside) return;
  Pack<float, PACK> sum{};
  visit_windows(at, dy.dim, dx.dim, windows, mean, [&](int64_t from, float share) {
    const auto gradient = load_pack<PACK>(dy.data + from), root = load_pack<PACK>(y.data + from);
#pragma unroll
    for (int i = 0; i < PACK; ++i) {
      const float slope = p == 2 ? 1 / root.at[i] : power(root.at[i], 1 - p);
      if (root.at[i] != 0) sum.at[i] += gradient.at[i] * slope * (taps * share);
    }
  });
  const auto here = load_pack<PACK>(x.data + at.offset);
#pragma unroll
  for (int i = 0; i < PACK; ++i) sum.at[i] *= power(here.at[i], p - 1);
  store_pack(dx.data + at.offset, sum);
}

template <class Function, class Axis>
void forward(Volume<const float> x, Volume<float> y, Windows<Axis> windows, Mean mean, float scale, Function f) {
  const bool four = four_channels(x.dim[4], x.data, y.data);
  const Places places(y, four ? 4 : 1);
  launch(four ? pool_mean_forward_kernel<4, Function, Axis> : pool_mean_forward_kernel<1, Function, Axis>,
         places.grid(), VOLUME_BLOCK, 0, x, y, windows, mean, scale, f, places);
}

template <class Axis>
void backward(Volume<const float> dy, Volume<float> dx, Windows<Axis> windows, Mean mean) {
  const bool four = four_channels(dx.dim[4], dy.data, dx.data);
  const Places places(dx, four ? 4 : 1);
  launch(four ? avg_pool_backward_kernel<4, Axis> : avg_pool_backward_kernel<1, Axis>, places.grid(), VOLUME_BLOCK, 0,
         dy, dx, windows, mean, places);
}

constexpr Triple ONE{1, 1, 1}, NONE{0, 0, 0};

void avg_pool_forward_direct(Volume<const float> x, Volume<float> y, Triple kernel_size, Triple stride, Triple padding,
                             bool count_include_pad, int divisor_override) {
  forward(x, y, sliding(kernel_size, stride, padding, ONE), Mean{count_include_pad, divisor_override}, 1, Plain{});
}
GPUDL_EXPORT(avg_pool, forward, direct, x, y, kernel_size, stride, padding, count_include_pad, divisor_override);

void avg_pool_backward_direct(Volume<const float> dy, Volume<float> dx, Triple kernel_size, Triple stride,
                              Triple padding, bool count_include_pad, int divisor_override) {
  backward(dy, dx, sliding(kernel_size, stride, padding, ONE), Mean{count_include_pad, divisor_override});
}
GPUDL_EXPORT(avg_pool, backward, direct, dy, dx, kernel_size, stride, padding, count_include_pad, divisor_override);

void adaptive_avg_pool_forward_direct(Volume<const float> x, Volume<float> y) {
  forward(x, y, adaptive(x, y), Mean{false, 0}, 1, Plain{});
}
GPUDL_EXPORT(adaptive_avg_pool, forward, direct, x, y);

void adaptive_avg_pool_backward_direct(Volume<const float> dy, Volume<float> dx) {
  backward(dy, dx, adaptive(dx, dy), Mean{false, 0});
}
GPUDL_EXPORT(adaptive_avg_pool, backward, direct, dy, dx);

float taps_of(Triple kernel) { return static_cast<float>(kernel.d) * kernel.h * kernel.w; }

void lp_pool_forward_direct(Volume<const float> x, Volume<float> y, Triple kernel_size, Triple stride,
                            float norm_type) {
  forward(x, y, sliding(kernel_size, stride, NONE, ONE), Mean{true, 0}, taps_of(kernel_size), Power{norm_type});
}
GPUDL_EXPORT(lp_pool, forward, direct, x, y, kernel_size, stride, norm_type);

void lp_pool_backward_direct(Volume<const float> dy, Volume<const float> x, Volume<const float> y, Volume<float> dx,
                             Triple kernel_size, Triple stride, float norm_type) {
  const bool four = four_channels(dx.dim[4], dy.data, x.data, y.data, dx.data);
  const Places places(dx, four ? 4 : 1);
  launch(four ? lp_pool_backward_kernel<4> : lp_pool_backward_kernel<1>, places.grid(), VOLUME_BLOCK, 0, dy, x, y, dx,
         sliding(kernel_size, stride, NONE, ONE), Mean{true, 0}, taps_of(kernel_size), norm_type, places);
}
GPUDL_EXPORT(lp_pool, backward, direct, dy, x, y, dx, kernel_size, stride, norm_type);

}  // namespace
}  // namespace gpudl
