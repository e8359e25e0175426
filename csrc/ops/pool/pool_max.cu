// Max pooling over sliding and adaptive windows of channels-last volumes, forward and backward.
// Grid: one thread for PACK neighbouring channels of one pixel of the array written (prim/volume.h). PACK is 4, or 1 if
// the number of channels is not a multiple of 4 or an array is not aligned to 16 bytes.
#include "core/export.h"
#include "ops/pool/pool.h"

namespace gpudl {
namespace {

using namespace prim;

// y = maximum of each window, argmax = its tap. The first of equal elements wins, NaN beats everything (the last NaN,
// as in PyTorch), padding never wins.
// sass: max_pool_forward_kernel LDG STG registers<=80
template <int PACK, class Index, class Axis>
__global__ void __launch_bounds__(VOLUME_BLOCK, Axis::BLOCKS)
    max_pool_forward_kernel(Volume<const float> x, Volume<float> y, Volume<Index> argmax, Windows<Axis> windows,
                            Places places) {
  const Place at = places.find<PACK>();
  if (!at.inside) return;
  const Span d = windows.d.span(at.d, x.dim[1]), h = windows.h.span(at.h, x.dim[2]), w = windows.w.span(at.w, x.dim[3]);
  Pack<float, PACK> best;
  Pack<Index, PACK> tap{};
  for (float& value : best.at) value = -INFINITY;
  bool first = true;
  for (int r = d.from; r < d.to; ++r) {
    for (int s = h.from; s < h.to; ++s) {
      const float* row = &x(at.n, d.at(r), h.at(s), 0, at.c);
      for (int t = w.from; t < w.to; ++t) {
        const auto here = load_pack<PACK>(row + static_cast<int64_t>(w.at(t)) * x.dim[4]);
        const auto number = static_cast<Index>(windows.number(r, s, t));
#pragma unroll
        for (int i = 0; i < PACK; ++i) {
          const float value = here.at[i];
          if (first || value > best.at[i] || value != value) {
            best.at[i] = value;
            tap.at[i] = number;
          }
        }
        first = false;
      }
    }
  }
  store_pack(y.data + at.offset, best);
  store_pack(argmax.data + at.offset, tap);
}

// dx = sum of dy over the windows that chose this element, gathered, so that no atomic additions are needed.
// sass: max_pool_backward_kernel LDG STG registers<=80
template <int PACK, class Index, class Axis>
__global__ void __launch_bounds__(VOLUME_BLOCK, Axis::BLOCKS)
    max_pool_backward_kernel(Volume<const float> dy, Volume<const Index> argmax, Volume<float> dx,
                             Windows<Axis> windows, Places places) {
  const Place at = places.find<PACK>();
  if (!at.inside) return;
  const Cover d = windows.d.cover(at.d, dy.dim[1], dx.dim[1]), h = windows.h.cover(at.h, dy.dim[2], dx.dim[2]),
              w = windows.w.cover(at.w, dy.dim[3], dx.dim[3]);
  Pack<float, PACK> sum{};
  for (int o = d.first; o <= d.last; ++o) {
    const int r = windows.d.tap(o, at.d, dy.dim[1], dx.dim[1]);
    if (r < 0) continue;
    for (int p = h.first; p <= h.last; ++p) {
      const int s = windows.h.tap(p, at.h, dy.dim[2], dx.dim[2]);
      if (s < 0) continue;
      const int64_t row = dy.offset(at.n, o, p, 0, at.c);
      for (int q = w.first; q <= w.last; ++q) {
        const int t = windows.w.tap(q, at.w, dy.dim[3], dx.dim[3]);
        if (t < 0) continue;
        const int64_t from = row + static_cast<int64_t>(q) * dy.dim[4];
        const int number = windows.number(r, s, t);
        const auto chosen = load_pack<PACK>(argmax.data + from);
        const auto gradient = load_pack<PACK>(dy.data + from);
#pragma unroll
        for (int i = 0; i < PACK; ++i) {
          if (chosen.at[i] == number) sum.at[i] += gradient.at[i];
        }
      }
    }
  }
  store_pack(dx.data + at.offset, sum);
}

template <class Index, class Axis>
void forward(Volume<const float> x, Volume<float> y, Volume<Index> argmax, Windows<Axis> windows) {
  const bool four = four_channels(x.dim[4], x.data, y.data, argmax.data);
  const Places places(y, four ? 4 : 1);
  launch(four ? max_pool_forward_kernel<4, Index, Axis> : max_pool_forward_kernel<1, Index, Axis>, places.grid(),
         VOLUME_BLOCK, 0, x, y, argmax, windows, places);
}

template <class Index, class Axis>
void backward(Volume<const float> dy, Volume<const Index> argmax, Volume<float> dx, Windows<Axis> windows) {
  const bool four = four_channels(dx.dim[4], dy.data, argmax.data, dx.data);
  const Places places(dx, four ? 4 : 1);
  launch(four ? max_pool_backward_kernel<4, Index, Axis> : max_pool_backward_kernel<1, Index, Axis>, places.grid(),
         VOLUME_BLOCK, 0, dy, argmax, dx, windows, places);
}

template <class Index>
void max_pool_forward(Volume<const float> x, Volume<float> y, Volume<Index> argmax, Triple kernel_size, Triple stride,
                      Triple padding, Triple dilation) {
  forward(x, y, argmax, sliding(kernel_size, stride, padding, dilation));
}

template <class Index>
void max_pool_backward(Volume<const float> dy, Volume<const Index> argmax, Volume<float> dx, Triple kernel_size,
                       Triple stride, Triple padding, Triple dilation) {
  backward(dy, argmax, dx, sliding(kernel_size, stride, padding, dilation));
}

template <class Index>
void adaptive_max_pool_forward(Volume<const float> x, Volume<float> y, Volume<Index> argmax) {
  forward(x, y, argmax, adaptive(x, y));
}

template <class Index>
void adaptive_max_pool_backward(Volume<const float> dy, Volume<const Index> argmax, Volume<float> dx) {
  backward(dy, argmax, dx, adaptive(dx, dy));
}

#define GPUDL_MAX_POOL(op, algorithm, Index)                                                  \
  constexpr auto& op##_forward_##algorithm = max_pool_forward<Index>;                         \
  GPUDL_EXPORT(op, forward, algorithm, x, y, argmax, kernel_size, stride, padding, dilation); \
  constexpr auto& op##_backward_##algorithm = max_pool_backward<Index>;                       \
  GPUDL_EXPORT(op, backward, algorithm, dy, argmax, dx, kernel_size, stride, padding, dilation)

#define GPUDL_ADAPTIVE_MAX_POOL(op, algorithm, Index)                            \
  constexpr auto& op##_forward_##algorithm = adaptive_max_pool_forward<Index>;   \
  GPUDL_EXPORT(op, forward, algorithm, x, y, argmax);                            \
  constexpr auto& op##_backward_##algorithm = adaptive_max_pool_backward<Index>; \
  GPUDL_EXPORT(op, backward, algorithm, dy, argmax, dx)

// direct: windows of up to 256 taps, whose numbers fit in a byte. wide: larger windows.
GPUDL_MAX_POOL(max_pool, direct, uint8_t);
GPUDL_MAX_POOL(max_pool, wide, int);
GPUDL_ADAPTIVE_MAX_POOL(adaptive_max_pool, direct, uint8_t);
GPUDL_ADAPTIVE_MAX_POOL(adaptive_max_pool, wide, int);

}  // namespace
}  // namespace gpudl
