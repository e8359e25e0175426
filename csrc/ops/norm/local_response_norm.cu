// Local response normalisation across the channels of channels-last tensors (Krizhevsky, Sutskever, Hinton 2012). A
// thread processes four neighbouring channels of one position and slides over their common window: (window + 3)/4 reads
// per channel, all but one from the L1 cache. Forward moves 12 bytes per element (it stores scale), backward 16.
#include "core/export.h"
#include "prim/channels.h"

namespace gpudl {
namespace {

using namespace prim;
using Input = View<const float, 5, nhwc>;
using Output = View<float, 5, nhwc>;

constexpr int BLOCK = 256;

struct Response {
  int64_t rows;
  int channels, fours;   // per position
  int below, above;      // channels of a window on each side of its own
  float alpha, beta, k;  // alpha is already divided by the window's size

  // scale^-beta. AlexNet's beta needs two square roots, which are faster and more accurate than powf.
  GPUDL_DEVICE float damped(float scale) const {
    if (beta != 0.75f) return powf(scale, -beta);
    const float root = __fsqrt_rn(scale);
    return __fdiv_rn(1.f, root * __fsqrt_rn(root));
  }
};

struct ResponsePlace {
  int64_t start;  // of the position's channels
  int channel, count;
  GPUDL_DEVICE explicit ResponsePlace(const Response& r) {
    const int64_t thread = static_cast<int64_t>(blockIdx.x) * BLOCK + threadIdx.x, row = thread / r.fours;
    start = row * r.channels;
    channel = static_cast<int>(thread - row * r.fours) * 4;
    count = row >= r.rows ? 0 : min(4, r.channels - channel);
  }
};

// sums[c] = Σ f(channel) over the window from c - below to c + above that lies inside.
template <class F>
GPUDL_DEVICE Four window_sums(const Response& r, const ResponsePlace& place, int below, int above, F f) {
  Four sums{};
  const int last = min(r.channels - 1, place.channel + 3 + above);
  for (int channel = max(0, place.channel - below); channel <= last; ++channel) {
    const float value = f(channel);
    const int offset = channel - place.channel;
#pragma unroll
    for (int c = 0; c < 4; ++c) sums.at[c] += offset >= c - below && offset <= c + above ? value : 0.f;
  }
  return sums;
}

// scale = k + alpha·Σ x², y = x·scale^-beta. One thread per four channels.
// sass: local_response_norm_forward_nhwc_kernel registers<=48
template <bool ALIGNED>
__global__ void __launch_bounds__(BLOCK)
    local_response_norm_forward_nhwc_kernel(Response r, const float* x, float* y, float* scale) {
  const ResponsePlace place(r);
  if (place.count <= 0) return;
  const float* const row = x + place.start;
  Four made = load_four<ALIGNED>(row + place.channel, place.count);
  Four scales = window_sums(r, place, r.below, r.above, [&](int channel) { return row[channel] * row[channel]; });
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    scales.at[c] = r.k + r.alpha * scales.at[c];
    made.at[c] *= r.damped(scales.at[c]);
  }
  store_four<ALIGNED>(y + place.start + place.channel, made, place.count);
  store_four<ALIGNED>(scale + place.start + place.channel, scales, place.count);
}

// dx = dy·scale^-beta + 2·alpha·x·Σ (dscale - beta·dy·x·scale^(-beta-1)) over the channels whose windows hold this one.
// sass: local_response_norm_backward_nhwc_kernel registers<=64
template <bool ALIGNED>
__global__ void __launch_bounds__(BLOCK)
    local_response_norm_backward_nhwc_kernel(Response r, const float* dy, const float* dscale, const float* x,
                                             const float* scale, float* dx) {
  const ResponsePlace place(r);
  if (place.count <= 0) return;
  const int64_t start = place.start, at = start + place.channel;
  const Four sums = window_sums(r, place, r.above, r.below, [&](int channel) {
    const int64_t i = start + channel;
    const float pull = r.beta * dy[i] * x[i] * __fdiv_rn(r.damped(scale[i]), scale[i]);
    return (dscale ? dscale[i] : 0.f) - pull;
  });
  const Four g = load_four<ALIGNED>(dy + at, place.count), s = load_four<ALIGNED>(scale + at, place.count);
  Four made = load_four<ALIGNED>(x + at, place.count);
#pragma unroll
  for (int c = 0; c < 4; ++c)
    if (ALIGNED || c < place.count) made.at[c] = g.at[c] * r.damped(s.at[c]) + 2 * r.alpha * made.at[c] * sums.at[c];
  store_four<ALIGNED>(dx + at, made, place.count);
}

Response response_of(const Input& x, int size, float alpha, float beta, float k) {
  const int channels = x.dim[4];
  return {channels ? x.size() / channels : 0,
          channels,
          (channels + 3) / 4,
          size / 2,
          (size - 1) / 2,
          alpha / static_cast<float>(size),
          beta,
          k};
}

dim3 grid_of(const Response& r) { return dim3(static_cast<unsigned>((r.rows * r.fours + BLOCK - 1) / BLOCK)); }

void local_response_norm_forward_nhwc(Input x, Output y, Output scale, int size, float alpha, float beta, float k) {
  const Response r = response_of(x, size, alpha, beta, k);
  const bool wide = r.channels % 4 == 0 && is_aligned<4>(x.data) && is_aligned<4>(y.data) && is_aligned<4>(scale.data);
  launch(wide ? local_response_norm_forward_nhwc_kernel<true> : local_response_norm_forward_nhwc_kernel<false>,
         grid_of(r), BLOCK, 0, r, x.data, y.data, scale.data);
}
GPUDL_EXPORT(local_response_norm, forward, nhwc, x, y, scale, size, alpha, beta, k);

void local_response_norm_backward_nhwc(Input dy, Maybe<Input> dscale, Input x, Input scale, Output dx, int size,
                                       float alpha, float beta, float k) {
  const Response r = response_of(x, size, alpha, beta, k);
  const bool wide = r.channels % 4 == 0 && is_aligned<4>(dy.data) && is_aligned<4>(x.data) &&
                    is_aligned<4>(scale.data) && is_aligned<4>(dx.data);
  launch(wide ? local_response_norm_backward_nhwc_kernel<true> : local_response_norm_backward_nhwc_kernel<false>,
         grid_of(r), BLOCK, 0, r, dy.data, dscale.data, x.data, scale.data, dx.data);
}
GPUDL_EXPORT(local_response_norm, backward, nhwc, dy, dscale, x, scale, dx, size, alpha, beta, k);

}  // namespace
}  // namespace gpudl
