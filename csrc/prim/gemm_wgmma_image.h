// An operand of prim/gemm_wgmma.h that is an image: a convolution's columns, never written to memory.
#pragma once
#include <cstdint>

#include "platform/device.h"

namespace gpudl::prim {

// A convolution along one axis of the image.
struct WindowAxis {
  int image, window, stride = 1, padding = 0, dilation = 1, padding_after = 0;
  GPUDL_HD int output() const { return (image + padding + padding_after - (window - 1) * dilation - 1) / stride + 1; }
};

// x: N images of h.image x w.image pixels with `channels` channels side by side. Rows: output pixels (n, p, q); k: (tap
// (r, s), channel), as weights stored (K, R, S, C) have it. A stage of 128 bytes of k must lie within one tap: BK
// divides group_channels. Batches of the product are groups.
template <class T>
struct WgmmaImage {
  using Element = T;
  static constexpr bool K_FAST = true;

  device::TensorMap map;
  int group_channels;
  WindowAxis h, w;

#if GPUDL_HAS_SM90A
  template <int ROWS>
  GPUDL_DEVICE void load(uint32_t tile, int row, int k, int batch, uint32_t mbarrier, uint16_t) const {
    const int columns = w.output(), pixels = h.output() * columns;
    const int n = row / pixels, p = row % pixels / columns, q = row % columns;
    const int tap = k / group_channels, channel = batch * group_channels + k % group_channels;
    device::tma_load_image_4d(tile, &map, channel, q * w.stride - w.padding, p * h.stride - h.padding, n,
                              tap % w.window * w.dilation, tap / w.window * h.dilation, mbarrier);
  }
#endif
};

// What TMA can do for a convolution: strides up to 8, windows and paddings that fit into a byte, 16-byte pixels.
template <class T>
bool wgmma_image_fits(const T* x, int channels, int group_channels, const WindowAxis& h, const WindowAxis& w) {
  const auto fits = [](const WindowAxis& a) {
    const int reach = (a.window - 1) * a.dilation;
    return a.stride <= 8 && a.padding <= 128 && reach - a.padding_after <= 128 && a.padding_after - reach <= 127 &&
           reach <= 255 && a.output() > 0;
  };
  return reinterpret_cast<uintptr_t>(x) % 16 == 0 && channels * sizeof(T) % 16 == 0 &&
         group_channels * sizeof(T) % 128 == 0 && fits(h) && fits(w);
}

// Loaded ROWS output pixels at a time.
template <int ROWS, class T>
WgmmaImage<T> wgmma_image(const T* x, int N, int channels, int group_channels, const WindowAxis& h,
                          const WindowAxis& w) {
  const auto beyond = [](const WindowAxis& a) { return a.padding_after - (a.window - 1) * a.dilation; };
  const int64_t extent[4] = {channels, w.image, h.image, N};
  const int64_t row = int64_t{w.image} * channels, stride[4] = {1, channels, row, row * h.image};
  const int first[2] = {-w.padding, -h.padding}, last[2] = {beyond(w), beyond(h)}, step[2] = {w.stride, h.stride};
  return {device::make_image_map(x, extent, stride, first, last, step, 128 / static_cast<int>(sizeof(T)), ROWS,
                                 device::Swizzle::bytes128),
          group_channels, h, w};
}

}  // namespace gpudl::prim
