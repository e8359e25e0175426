// Convolution as a matrix product: x to the matrix of columns, and back.
// Row m of the columns holds the elements that output m reads:
// columns[m, g, tap, c] = x[pixel of the tap, g*C/groups + c], and 0 outside x.
#pragma once
#include "ops/conv/conv.h"
#include "prim/elementwise.h"

namespace gpudl::prim {

constexpr int COLUMNS_BLOCK = 256;

// Columns of the images from `first` on. Grid: (PACKs of one image's columns, images). Neighbouring threads process
// neighbouring channels, so reads and writes are contiguous over a group's channels.
// PACK = 4 if a group has a multiple of 4 channels and both arrays are aligned to 16 bytes, else 1.
template <int PACK>
__global__ void __launch_bounds__(COLUMNS_BLOCK)
    im2col_kernel(const float* x, float* columns, ConvShape conv, int first) {
  const unsigned row = conv.groups * conv.filter_size() / PACK;
  unsigned i = blockIdx.x * COLUMNS_BLOCK + threadIdx.x;
  if (i >= row * conv.output_pixels()) return;
  float* to = columns + (static_cast<int64_t>(blockIdx.y) * conv.output_pixels() * row + i) * PACK;
  const auto next = [&i](int extent) {
    const unsigned at = i % extent;
    i /= extent;
    return static_cast<int>(at);
  };
  const int c = next(conv.group_c() / PACK) * PACK;
  const int s = next(conv.w.window), r = next(conv.h.window), t = next(conv.d.window);
  const int g = next(conv.groups);
  const int q = next(conv.w.output), p = next(conv.h.output), o = static_cast<int>(i);
  const int d = o * conv.d.stride - conv.d.padding + t * conv.d.dilation;
  const int h = p * conv.h.stride - conv.h.padding + r * conv.h.dilation;
  const int w = q * conv.w.stride - conv.w.padding + s * conv.w.dilation;
  Pack<float, PACK> value{};
  if (d >= 0 && d < conv.d.image && h >= 0 && h < conv.h.image && w >= 0 && w < conv.w.image) {
    const int64_t n = first + static_cast<int64_t>(blockIdx.y);
    const int64_t pixel = ((n * conv.d.image + d) * conv.h.image + h) * conv.w.image + w;
    value = load_pack<PACK>(x + pixel * conv.C + g * conv.group_c() + c);
  }
  store_pack<PACK>(to, value);
}

// The output that reads image element `at` by a tap; -1 if none does.
GPUDL_DEVICE int output_met(const ConvAxis& axis, int at, int tap) {
  const int scaled = at + axis.padding - tap * axis.dilation, output = scaled / axis.stride;
  return scaled < 0 || scaled % axis.stride != 0 || output >= axis.output ? -1 : output;
}

// dx[pixel, c] = sum of columns[m, g, tap, c] over the (m, tap) that read the pixel, gathered in the order of taps, so
// that no two threads add to one element and the bits never change. Grid: (PACKs of one image, images).
template <int PACK>
__global__ void __launch_bounds__(COLUMNS_BLOCK, 4)  // more blocks would leave too few registers
    col2im_kernel(const float* columns, float* dx, ConvShape conv, int first) {
  const unsigned packs = conv.C / PACK;
  const unsigned i = blockIdx.x * COLUMNS_BLOCK + threadIdx.x;
  if (i >= packs * conv.image_pixels()) return;
  const int c = static_cast<int>(i % packs) * PACK, pixel = static_cast<int>(i / packs);
  const int w = pixel % conv.w.image, h = pixel / conv.w.image % conv.h.image, d = pixel / conv.w.image / conv.h.image;
  const int g = c / conv.group_c();
  const float* from = columns + g * conv.filter_size() + c % conv.group_c();
  const int64_t row = static_cast<int64_t>(conv.groups) * conv.filter_size();
  Pack<float, PACK> sum{};
  for (int t = 0; t < conv.d.window; ++t) {
    const int o = output_met(conv.d, d, t);
    for (int r = 0; o >= 0 && r < conv.h.window; ++r) {
      const int p = output_met(conv.h, h, r);
      for (int s = 0; p >= 0 && s < conv.w.window; ++s) {
        const int q = output_met(conv.w, w, s);
        if (q < 0) continue;
        const int64_t m =
            static_cast<int64_t>(blockIdx.y) * conv.output_pixels() + (o * conv.h.output + p) * conv.w.output + q;
        const int tap = (t * conv.h.window + r) * conv.w.window + s;
        const Pack<float, PACK> met = load_pack<PACK>(from + m * row + tap * conv.group_c());
#pragma unroll
        for (int j = 0; j < PACK; ++j) sum.at[j] += met.at[j];
      }
    }
  }
  const int64_t n = first + static_cast<int64_t>(blockIdx.y);
  store_pack<PACK>(dx + (n * conv.image_pixels() + pixel) * conv.C + c, sum);
}

inline bool packs_channels(const ConvShape& conv, const float* a, const float* b) {
  return conv.group_c() % 4 == 0 && is_aligned<4>(a) && is_aligned<4>(b);
}

inline dim3 columns_grid(int64_t image_elements, int pack, int images) {
  return dim3(static_cast<unsigned>(ceil_div<int64_t>(image_elements, COLUMNS_BLOCK * pack)), images);
}

// Columns of images [first, first + images) of x.
inline void im2col(const float* x, float* columns, const ConvShape& conv, int first, int images) {
  const int64_t elements = int64_t{1} * conv.output_pixels() * conv.groups * conv.filter_size();
  const int pack = packs_channels(conv, x, columns) ? 4 : 1;
  launch(pack == 4 ? im2col_kernel<4> : im2col_kernel<1>, columns_grid(elements, pack, images), COLUMNS_BLOCK, 0, x,
         columns, conv, first);
}

// Images [first, first + images) of dx from the gradient of their columns.
inline void col2im(const float* columns, float* dx, const ConvShape& conv, int first, int images) {
  const int64_t elements = int64_t{1} * conv.image_pixels() * conv.C;
  const int pack = packs_channels(conv, columns, dx) ? 4 : 1;
  launch(pack == 4 ? col2im_kernel<4> : col2im_kernel<1>, columns_grid(elements, pack, images), COLUMNS_BLOCK, 0,
         columns, dx, conv, first);
}

}  // namespace gpudl::prim
