// Max and average pooling over windows, forward and backward, on channels-last arrays.
// Grid: x covers the pixels and channels of one image of what is written, y the images (it strides where there are more
// than a grid has). A thread writes PACK neighbouring channels, so that a warp reads and writes whole lines. PACK is 4,
// or 1 where the channels do not divide or an array starts at an odd address.
#include <climits>

#include "core/export.h"
#include "prim/elementwise.h"

namespace gpudl {
namespace {

using prim::load_pack;
using prim::Pack;
using prim::store_pack;

constexpr int BLOCK = 256;
constexpr int MAX_GRID_Y = 65535;

template <class T>
using Image = View<T, 4, nhwc>;

struct Window {
  Pair kernel, stride, padding, dilation;
};

// The element that a thread writes, in each image.
struct Place {
  int row, column, channel;
  bool inside;
};

template <int PACK, class T>
GPUDL_DEVICE Place place_in(const Image<T>& image) {
  const unsigned packs = image.dim[3] / PACK, columns = image.dim[2];
  const unsigned index = blockIdx.x * BLOCK + threadIdx.x, pixel = index / packs;
  const unsigned row = pixel / columns;
  return {static_cast<int>(row), static_cast<int>(pixel % columns), static_cast<int>(index % packs * PACK),
          row < static_cast<unsigned>(image.dim[1])};
}

template <class T>
dim3 grid_over(const Image<T>& image, int pack) {
  const int64_t threads = static_cast<int64_t>(image.dim[1]) * image.dim[2] * (image.dim[3] / pack);
  check(threads <= INT_MAX, "x", "has more than 2^31 elements in one image");
  return dim3(static_cast<unsigned>((threads + BLOCK - 1) / BLOCK), std::min(image.dim[0], MAX_GRID_Y));
}

// The windows along one axis that cover position `at`: from `first` to `last`, not all of them with dilation.
struct Cover {
  int first, last;
};
GPUDL_DEVICE Cover windows_over(int at, int outputs, int kernel, int stride, int padding, int dilation) {
  const int from = at + padding - (kernel - 1) * dilation, last = (at + padding) / stride;
  return {from > 0 ? (from + stride - 1) / stride : 0, last < outputs ? last : outputs - 1};
}

// y = the largest of each window, argmax = which of its kernel.h * kernel.w elements that is. The first of equals wins,
// a NaN beats all (the last NaN, as in PyTorch), padding never wins.
// sass: max_pool2d_forward_kernel LDG STG registers<=64
template <int PACK, class Index>
__global__ void __launch_bounds__(BLOCK, 4)
    max_pool2d_forward_kernel(Image<const float> x, Image<float> y, Image<Index> argmax, Window window) {
  const Place at = place_in<PACK>(y);
  if (!at.inside) return;
  const int top = at.row * window.stride.h - window.padding.h, left = at.column * window.stride.w - window.padding.w;
  for (int n = blockIdx.y; n < y.dim[0]; n += gridDim.y) {
    Pack<float, PACK> best;
    Pack<Index, PACK> tap{};
    for (float& value : best.at) value = -INFINITY;
    bool first = true;
    for (int r = 0; r < window.kernel.h; ++r) {
      const int h = top + r * window.dilation.h;
      if (h < 0 || h >= x.dim[1]) continue;
      for (int s = 0; s < window.kernel.w; ++s) {
        const int w = left + s * window.dilation.w;
        if (w < 0 || w >= x.dim[2]) continue;
        const auto here = load_pack<PACK>(&x(n, h, w, at.channel));
#pragma unroll
        for (int i = 0; i < PACK; ++i) {
          const float value = here.at[i];
          if (first || value > best.at[i] || value != value) {
            best.at[i] = value;
            tap.at[i] = static_cast<Index>(r * window.kernel.w + s);
          }
        }
        first = false;
      }
    }
    store_pack(&y(n, at.row, at.column, at.channel), best);
    store_pack(&argmax(n, at.row, at.column, at.channel), tap);
  }
}

// dx = the sum of dy over the windows that chose this element: gathered, so that nothing is added atomically.
// sass: max_pool2d_backward_kernel LDG STG registers<=64
template <int PACK, class Index>
__global__ void __launch_bounds__(BLOCK, 4)
    max_pool2d_backward_kernel(Image<const float> dy, Image<const Index> argmax, Image<float> dx, Window window) {
  const Place at = place_in<PACK>(dx);
  if (!at.inside) return;
  const auto [kernel, stride, padding, dilation] = window;
  const Cover rows = windows_over(at.row, dy.dim[1], kernel.h, stride.h, padding.h, dilation.h);
  const Cover columns = windows_over(at.column, dy.dim[2], kernel.w, stride.w, padding.w, dilation.w);
  for (int n = blockIdx.y; n < dx.dim[0]; n += gridDim.y) {
    Pack<float, PACK> sum{};
    for (int p = rows.first; p <= rows.last; ++p) {
      const int down = at.row + padding.h - p * stride.h;
      if (down % dilation.h != 0) continue;
      for (int q = columns.first; q <= columns.last; ++q) {
        const int right = at.column + padding.w - q * stride.w;
        if (right % dilation.w != 0) continue;
        const int tap = down / dilation.h * kernel.w + right / dilation.w;
        const auto chosen = load_pack<PACK>(&argmax(n, p, q, at.channel));
        const auto gradient = load_pack<PACK>(&dy(n, p, q, at.channel));
#pragma unroll
        for (int i = 0; i < PACK; ++i) {
          if (chosen.at[i] == tap) sum.at[i] += gradient.at[i];
        }
      }
    }
    store_pack(&dx(n, at.row, at.column, at.channel), sum);
  }
}

// What an average divides by.
struct Divisor {
  bool count_padding;
  int fixed;  // 0: the window's size

  GPUDL_DEVICE float of(int top, int left, const Window& window, int height, int width) const {
    if (fixed != 0) return static_cast<float>(fixed);
    const Pair margin = count_padding ? window.padding : Pair{0, 0};
    const int rows = min(top + window.kernel.h, height + margin.h) - max(top, -margin.h);
    const int columns = min(left + window.kernel.w, width + margin.w) - max(left, -margin.w);
    return static_cast<float>(rows * columns);
  }
};

// y = the sum of each window's elements, padding being zero, over its divisor.
// sass: avg_pool2d_forward_kernel LDG STG registers<=64
template <int PACK>
__global__ void __launch_bounds__(BLOCK, 4)
    avg_pool2d_forward_kernel(Image<const float> x, Image<float> y, Window window, Divisor divisor) {
  const Place at = place_in<PACK>(y);
  if (!at.inside) return;
  const int top = at.row * window.stride.h - window.padding.h, left = at.column * window.stride.w - window.padding.w;
  const int bottom = min(top + window.kernel.h, x.dim[1]), right = min(left + window.kernel.w, x.dim[2]);
  const float over = divisor.of(top, left, window, x.dim[1], x.dim[2]);
  for (int n = blockIdx.y; n < y.dim[0]; n += gridDim.y) {
    Pack<float, PACK> sum{};
    for (int h = max(top, 0); h < bottom; ++h) {
      for (int w = max(left, 0); w < right; ++w) {
        const auto here = load_pack<PACK>(&x(n, h, w, at.channel));
#pragma unroll
        for (int i = 0; i < PACK; ++i) sum.at[i] += here.at[i];
      }
    }
    for (float& value : sum.at) value /= over;
    store_pack(&y(n, at.row, at.column, at.channel), sum);
  }
}

// dx = the sum of dy over the divisors, gathered from the windows that cover the element.
// sass: avg_pool2d_backward_kernel LDG STG registers<=64
template <int PACK>
__global__ void __launch_bounds__(BLOCK, 4)
    avg_pool2d_backward_kernel(Image<const float> dy, Image<float> dx, Window window, Divisor divisor) {
  const Place at = place_in<PACK>(dx);
  if (!at.inside) return;
  const auto [kernel, stride, padding, dilation] = window;
  const Cover rows = windows_over(at.row, dy.dim[1], kernel.h, stride.h, padding.h, 1);
  const Cover columns = windows_over(at.column, dy.dim[2], kernel.w, stride.w, padding.w, 1);
  for (int n = blockIdx.y; n < dx.dim[0]; n += gridDim.y) {
    Pack<float, PACK> sum{};
    for (int p = rows.first; p <= rows.last; ++p) {
      for (int q = columns.first; q <= columns.last; ++q) {
        const float over = divisor.of(p * stride.h - padding.h, q * stride.w - padding.w, window, dx.dim[1], dx.dim[2]);
        const auto gradient = load_pack<PACK>(&dy(n, p, q, at.channel));
#pragma unroll
        for (int i = 0; i < PACK; ++i) sum.at[i] += gradient.at[i] / over;
      }
    }
    store_pack(&dx(n, at.row, at.column, at.channel), sum);
  }
}

template <class... T>
bool packs(int channels, const T*... data) {
  return channels % 4 == 0 && (prim::is_aligned<4>(data) && ...);
}

template <class Index>
void max_pool2d_forward(Image<const float> x, Image<float> y, Image<Index> argmax, Window window) {
  const bool four = packs(x.dim[3], x.data, y.data, argmax.data);
  launch(four ? max_pool2d_forward_kernel<4, Index> : max_pool2d_forward_kernel<1, Index>, grid_over(y, four ? 4 : 1),
         BLOCK, 0, x, y, argmax, window);
}

template <class Index>
void max_pool2d_backward(Image<const float> dy, Image<const Index> argmax, Image<float> dx, Window window) {
  const bool four = packs(dx.dim[3], dy.data, argmax.data, dx.data);
  launch(four ? max_pool2d_backward_kernel<4, Index> : max_pool2d_backward_kernel<1, Index>,
         grid_over(dx, four ? 4 : 1), BLOCK, 0, dy, argmax, dx, window);
}

// direct: windows of up to 256 elements, whose argmax fits a byte.
void max_pool2d_forward_direct(Image<const float> x, Image<float> y, Image<uint8_t> argmax, Pair kernel_size,
                               Pair stride, Pair padding, Pair dilation) {
  max_pool2d_forward(x, y, argmax, {kernel_size, stride, padding, dilation});
}
GPUDL_EXPORT(max_pool2d_forward_direct, x, y, argmax, kernel_size, stride, padding, dilation);

void max_pool2d_backward_direct(Image<const float> dy, Image<const uint8_t> argmax, Image<float> dx, Pair kernel_size,
                                Pair stride, Pair padding, Pair dilation) {
  max_pool2d_backward(dy, argmax, dx, {kernel_size, stride, padding, dilation});
}
GPUDL_EXPORT(max_pool2d_backward_direct, dy, argmax, dx, kernel_size, stride, padding, dilation);

// wide: larger windows.
void max_pool2d_forward_wide(Image<const float> x, Image<float> y, Image<int> argmax, Pair kernel_size, Pair stride,
                             Pair padding, Pair dilation) {
  max_pool2d_forward(x, y, argmax, {kernel_size, stride, padding, dilation});
}
GPUDL_EXPORT(max_pool2d_forward_wide, x, y, argmax, kernel_size, stride, padding, dilation);

void max_pool2d_backward_wide(Image<const float> dy, Image<const int> argmax, Image<float> dx, Pair kernel_size,
                              Pair stride, Pair padding, Pair dilation) {
  max_pool2d_backward(dy, argmax, dx, {kernel_size, stride, padding, dilation});
}
GPUDL_EXPORT(max_pool2d_backward_wide, dy, argmax, dx, kernel_size, stride, padding, dilation);

void avg_pool2d_forward_direct(Image<const float> x, Image<float> y, Pair kernel_size, Pair stride, Pair padding,
                               bool count_include_pad, int divisor_override) {
  const bool four = packs(x.dim[3], x.data, y.data);
  launch(four ? avg_pool2d_forward_kernel<4> : avg_pool2d_forward_kernel<1>, grid_over(y, four ? 4 : 1), BLOCK, 0, x, y,
         Window{kernel_size, stride, padding, {1, 1}}, Divisor{count_include_pad, divisor_override});
}
GPUDL_EXPORT(avg_pool2d_forward_direct, x, y, kernel_size, stride, padding, count_include_pad, divisor_override);

void avg_pool2d_backward_direct(Image<const float> dy, Image<float> dx, Pair kernel_size, Pair stride, Pair padding,
                                bool count_include_pad, int divisor_override) {
  const bool four = packs(dx.dim[3], dy.data, dx.data);
  launch(four ? avg_pool2d_backward_kernel<4> : avg_pool2d_backward_kernel<1>, grid_over(dx, four ? 4 : 1), BLOCK, 0,
         dy, dx, Window{kernel_size, stride, padding, {1, 1}}, Divisor{count_include_pad, divisor_override});
}
GPUDL_EXPORT(avg_pool2d_backward_direct, dy, dx, kernel_size, stride, padding, count_include_pad, divisor_override);

}  // namespace
}  // namespace gpudl
