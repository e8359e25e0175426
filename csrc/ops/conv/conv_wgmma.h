// The operands of an implicit convolution on Hopper, for prim/gemm/gemm_wgmma.h: TMA's copies of images find the
// elements that a tap reads for the pixels of a tile, including zeros outside the image.
//
// k runs over taps and, within a tap, over channels in steps of a stage (64 of 16 bits). If the number of channels is
// not a multiple of that, the rest of a stage is zero, in the image and in the weights.
//
// Images here have two axes, no groups, and rows of channels aligned to 16 bytes; strides and window offsets are
// limited (fits_wgmma). Other convolutions use the other main loops of ops/conv/conv_implicit.h.
#pragma once
#include "ops/conv/conv.h"
#include "ops/conv/conv_operand.h"
#include "prim/gemm/gemm_wgmma.h"

namespace gpudl::prim {

// Windows sliding over an image {N, h, w, channels}. Along each axis, window o starts at first + o*step, and its tap t
// reads t*dilation further on.
struct SlidingAxis {
  int image, windows, first, step, taps, dilation;

  int beyond_last() const { return first + (windows - 1) * step + 1 - image; }
  bool fits() const {
    return first >= -128 && first < 128 && beyond_last() >= -128 && beyond_last() < 128 && step <= 8 &&
           (taps - 1) * dilation < 256;
  }
};
struct SlidingWindows {
  int N, channels;
  SlidingAxis h, w;
};

inline SlidingAxis forward_windows(const ConvAxis& a) {
  return {a.image, a.output, -a.padding, a.stride, a.window, a.dilation};
}
// The data gradient with stride 1: windows over dy, in which tap t of the filter is tap window - 1 - t.
inline SlidingAxis gradient_windows(const ConvAxis& a) {
  return {a.output, a.image, a.padding - (a.window - 1) * a.dilation, 1, a.window, a.dilation};
}
inline SlidingWindows forward_windows(const ConvShape& conv) {
  return {conv.N, conv.C, forward_windows(conv.h), forward_windows(conv.w)};
}
inline SlidingWindows gradient_windows(const ConvShape& conv) {
  return {conv.N, conv.K, gradient_windows(conv.h), gradient_windows(conv.w)};
}

inline bool fits_wgmma(const ConvShape& conv, const SlidingWindows& windows) {
  const bool flat = conv.d.image == 1 && conv.d.window == 1 && conv.d.output == 1;
  return flat && conv.groups == 1 && conv.C % 8 == 0 && conv.K % 8 == 0 && conv.N > 0 && windows.h.fits() &&
         windows.w.fits();
}

template <class T>
constexpr int WGMMA_DEPTH = 128 / static_cast<int>(sizeof(T));  // elements of k per stage

// The tap and channel of a k.
struct TapChannel {
  Divisor depth, columns;  // channels of a tap, rounded up to stages; taps along the width

  GPUDL_DEVICE void split(int k, int& channel, int& tap_h, int& tap_w) const {
    int tap = k;
    channel = depth.split(tap);
    tap_w = columns.split(tap);
    tap_h = tap;
  }
};

// The pixels that windows read. K_FAST: row = window, k = (tap, channel). Else row = (tap, channel), k = window.
template <class T, bool K_FAST_>
struct WgmmaPixels {
  using Element = T;
  static constexpr bool K_FAST = K_FAST_;

  device::TensorMap map;
  SlidingWindows windows;
  TapChannel taps;
  Axes place;  // of a window in an image; its first number is the image

  WgmmaPixels(const T* data, const SlidingWindows& w, int pixels)
      : windows(w),
        taps{Divisor(ceil_div(w.channels, WGMMA_DEPTH<T>) * WGMMA_DEPTH<T>), Divisor(w.w.taps)},
        place(w.h.windows, w.w.windows) {
    const int64_t line = int64_t{1} * w.w.image * w.channels;
    const int64_t extent[4] = {w.channels, w.w.image, w.h.image, w.N};
    const int64_t stride[4] = {1, w.channels, line, line * w.h.image};
    const int first[2] = {w.w.first, w.h.first}, beyond_last[2] = {w.w.beyond_last(), w.h.beyond_last()};
    const int step[2] = {w.w.step, w.h.step};
    map = device::make_image_map(data, extent, stride, first, beyond_last, step, WGMMA_DEPTH<T>, pixels,
                                 device::Swizzle::bytes128);
  }

#if GPUDL_HAS_SM90A
  template <int ROWS>
  GPUDL_DEVICE void load(uint32_t tile, int row, int k, int, uint32_t mbarrier, uint16_t) const {
    if constexpr (K_FAST) {
      load_pixels(tile, row, k, mbarrier);
    } else {
#pragma unroll
      for (int i = 0; i < ROWS / 64; ++i) load_pixels(tile + i * WGMMA_BOX, k, row + i * 64, mbarrier);
    }
  }

 private:
  GPUDL_DEVICE void load_pixels(uint32_t to, int window, int k, uint32_t mbarrier) const {
    const Triple at = place.split(window);
    int channel, tap_h, tap_w;
    taps.split(k, channel, tap_h, tap_w);
    // The last tile of (tap, channel) may extend past the last tap: any tap will do there, its sums are not used.
    tap_h = min(tap_h, windows.h.taps - 1);
    device::tma_load_image_4d(to, &map, channel, windows.w.first + at.w * windows.w.step,
                              windows.h.first + at.h * windows.h.step, at.d, tap_w * windows.w.dilation,
                              tap_h * windows.h.dilation, mbarrier);
  }
#endif
};

// The filters {K, taps, C}. K_FAST: row = filter, k = (tap, channel). Else row = channel, k = (tap counted from the
// last, filter).
template <class T, bool K_FAST_>
struct WgmmaFilters {
  using Element = T;
  static constexpr bool K_FAST = K_FAST_;

  device::TensorMap map;
  Divisor depth;
  int last_tap;

  WgmmaFilters(const T* data, const ConvShape& conv, int rows)
      : depth(ceil_div(K_FAST ? conv.C : conv.K, WGMMA_DEPTH<T>) * WGMMA_DEPTH<T>), last_tap(conv.taps() - 1) {
    const int64_t extent[3] = {conv.C, conv.taps(), conv.K};
    const int64_t stride[3] = {1, conv.C, conv.filter_size()};
    const int box[3] = {WGMMA_DEPTH<T>, 1, K_FAST ? rows : WGMMA_DEPTH<T>};
    map = device::make_tensor_map(data, extent, stride, box, device::Swizzle::bytes128);
  }

#if GPUDL_HAS_SM90A
  template <int ROWS>
  GPUDL_DEVICE void load(uint32_t tile, int row, int k, int, uint32_t mbarrier, uint16_t blocks) const {
    int tap = k;
    const int channel = depth.split(tap);
    if constexpr (K_FAST) {
      wgmma_load_box(tile, map, channel, tap, row, mbarrier, blocks);
    } else {
#pragma unroll
      for (int i = 0; i < ROWS / 64; ++i)
        wgmma_load_box(tile + i * WGMMA_BOX, map, row + i * 64, last_tap - tap, channel, mbarrier, blocks);
    }
  }
#endif
};

// Two warpgroups of 64x128 and the producer, all with their initial registers: finding windows needs more than the 40
// that the producer of a 128x256 tile would have.
template <class T>
struct ImageTile : WgmmaTile<T, 128, 128, 5, 1, false> {
  static constexpr bool MOVES_REGISTERS = false;
};

// Run make(tile), which gives the product with operands for a tile shape, for the shape that should finish first.
template <class T, class Make>
void wgmma_tiled(Make make) {
  using Small = typename WgmmaTiles<T>::Small;
  const auto large = make(static_cast<ImageTile<T>*>(nullptr));
  if (gemm_wgmma_choose(large) == 3) gemm_wgmma_launch<Small>(make(static_cast<Small*>(nullptr)));
  else gemm_wgmma_launch<ImageTile<T>>(large);
}

}  // namespace gpudl::prim
