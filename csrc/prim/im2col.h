// Convolution as a matrix product: the matrix of columns, and back from it.
// Row m = (n,p,q) of the columns holds what output pixel m meets: columns[m, g, r, s, c] = x[n, h, w, g*C/groups + c]
// with h = p*stride - padding + r*dilation, w likewise, and 0 outside x.
#pragma once
#include "prim/conv.h"
#include "prim/elementwise.h"

namespace gpudl::prim {

constexpr int COLUMNS_BLOCK = 256;

// Columns of the images from `first` on. Grid: (PACKs of one image's columns, images). Neighbouring threads take
// neighbouring channels, so reads and writes are contiguous over a group's channels.
// PACK = 4 where a group's channels divide by it, and both arrays start at a multiple of 16 bytes.
template <int PACK>
__global__ void __launch_bounds__(COLUMNS_BLOCK)
    im2col_kernel(const float* x, float* columns, ConvShape conv, int first) {
  const unsigned row = conv.groups * conv.filter_size() / PACK;
  unsigned i = blockIdx.x * COLUMNS_BLOCK + threadIdx.x;
  if (i >= row * conv.P * conv.Q) return;
  float* to = columns + (static_cast<int64_t>(blockIdx.y) * conv.P * conv.Q * row + i) * PACK;
  const unsigned packs = conv.group_c() / PACK;
  const int c = static_cast<int>(i % packs) * PACK;
  i /= packs;
  const int s = static_cast<int>(i % conv.S);
  i /= conv.S;
  const int r = static_cast<int>(i % conv.R);
  i /= conv.R;
  const int g = static_cast<int>(i % conv.groups);
  i /= conv.groups;
  const int q = static_cast<int>(i % conv.Q), p = static_cast<int>(i / conv.Q);
  const int h = p * conv.stride.h - conv.padding.h + r * conv.dilation.h;
  const int w = q * conv.stride.w - conv.padding.w + s * conv.dilation.w;
  Pack<float, PACK> value{};
  if (h >= 0 && h < conv.H && w >= 0 && w < conv.W) {
    const int64_t n = first + static_cast<int64_t>(blockIdx.y);
    value = load_pack<PACK>(x + ((n * conv.H + h) * conv.W + w) * conv.C + g * conv.group_c() + c);
  }
  store_pack<PACK>(to, value);
}

// dx[n,h,w,c] = sum of columns[m, g, r, s, c] over the (m, r, s) that met it: gathered, in the order of (r, s), so that
// no two threads add to one element and the bits never change. Grid: (PACKs of one image, images).
template <int PACK>
__global__ void __launch_bounds__(COLUMNS_BLOCK, 4)  // more blocks would leave too few registers
    col2im_kernel(const float* columns, float* dx, ConvShape conv, int first) {
  const unsigned packs = conv.C / PACK;
  const unsigned i = blockIdx.x * COLUMNS_BLOCK + threadIdx.x;
  if (i >= packs * conv.H * conv.W) return;
  const int c = static_cast<int>(i % packs) * PACK, w = static_cast<int>(i / packs % conv.W);
  const int h = static_cast<int>(i / packs / conv.W);
  const int g = c / conv.group_c();
  const float* from = columns + g * conv.filter_size() + c % conv.group_c();
  const int64_t row = static_cast<int64_t>(conv.groups) * conv.filter_size();
  Pack<float, PACK> sum{};
  for (int r = 0; r < conv.R; ++r) {
    const int p_scaled = h + conv.padding.h - r * conv.dilation.h, p = p_scaled / conv.stride.h;
    if (p_scaled < 0 || p_scaled % conv.stride.h != 0 || p >= conv.P) continue;
    for (int s = 0; s < conv.S; ++s) {
      const int q_scaled = w + conv.padding.w - s * conv.dilation.w, q = q_scaled / conv.stride.w;
      if (q_scaled < 0 || q_scaled % conv.stride.w != 0 || q >= conv.Q) continue;
      const int64_t m = (static_cast<int64_t>(blockIdx.y) * conv.P + p) * conv.Q + q;
      const Pack<float, PACK> met = load_pack<PACK>(from + m * row + (r * conv.S + s) * conv.group_c());
#pragma unroll
      for (int j = 0; j < PACK; ++j) sum.at[j] += met.at[j];
    }
  }
  const int64_t n = first + static_cast<int64_t>(blockIdx.y);
  store_pack<PACK>(dx + ((n * conv.H + h) * conv.W + w) * conv.C + c, sum);
}

inline bool packs_channels(const ConvShape& conv, const float* a, const float* b) {
  return conv.group_c() % 4 == 0 && is_aligned<4>(a) && is_aligned<4>(b);
}

inline dim3 columns_grid(int64_t image_elements, int pack, int images) {
  return dim3(static_cast<unsigned>(ceil_div<int64_t>(image_elements, COLUMNS_BLOCK * pack)), images);
}

// columns of images [first, first + images) of x.
inline void im2col(const float* x, float* columns, const ConvShape& conv, int first, int images) {
  const int64_t elements = int64_t{1} * conv.P * conv.Q * conv.groups * conv.filter_size();
  const int pack = packs_channels(conv, x, columns) ? 4 : 1;
  launch(pack == 4 ? im2col_kernel<4> : im2col_kernel<1>, columns_grid(elements, pack, images), COLUMNS_BLOCK, 0, x,
         columns, conv, first);
}

// Images [first, first + images) of dx from the gradient of their columns.
inline void col2im(const float* columns, float* dx, const ConvShape& conv, int first, int images) {
  const int64_t elements = int64_t{1} * conv.H * conv.W * conv.C;
  const int pack = packs_channels(conv, columns, dx) ? 4 : 1;
  launch(pack == 4 ? col2im_kernel<4> : col2im_kernel<1>, columns_grid(elements, pack, images), COLUMNS_BLOCK, 0,
         columns, dx, conv, first);
}

}  // namespace gpudl::prim
