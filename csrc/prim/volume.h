// Kernels over channels-last volumes {N, D, H, W, C}, one thread for PACK neighbouring channels of one pixel: a warp
// then reads and writes whole lines. Images and lines are volumes whose missing axes have size 1.
//
//   template <int PACK> __global__ void __launch_bounds__(VOLUME_BLOCK) f_kernel(Volume<float> y, Places places) {
//     const Place at = places.find<PACK>();
//     if (!at.inside) return;
//   }
//   launch(f_kernel<4>, Places(y, 4).grid(), VOLUME_BLOCK, 0, y, Places(y, 4));
#pragma once
#include <climits>

#include "core/check.h"
#include "core/view.h"
#include "platform/device.h"
#include "prim/elementwise.h"

namespace gpudl::prim {

template <class T>
using Volume = View<T, 5, nhwc>;

constexpr int VOLUME_BLOCK = 256;

// Division of numbers below 2^31 by one that is known before the launch, as a product and a shift. Granlund and
// Montgomery, "Division by invariant integers using multiplication", PLDI 1994, figure 4.1.
struct Divider {
  unsigned divisor = 1, multiplier = 1, shift = 0;

  Divider() = default;
  explicit Divider(unsigned by) : divisor(by > 0 ? by : 1) {
    while ((uint64_t{1} << shift) < divisor) ++shift;
    multiplier = static_cast<unsigned>((((uint64_t{1} << shift) - divisor) << 32) / divisor + 1);
  }
  GPUDL_DEVICE unsigned operator()(unsigned number) const { return (__umulhi(number, multiplier) + number) >> shift; }
};

// What a thread works on: pixel (n, d, h, w), channels from c on.
struct Place {
  int n, d, h, w, c;
  int64_t offset;  // in the array that Places was made of
  bool inside;
};

// Threads over a volume: which place is whose.
struct Places {
  unsigned threads;
  Divider packs, columns, rows, planes;

  template <class T>
  Places(const Volume<T>& over, int pack)
      : packs(static_cast<unsigned>(over.dim[4] / pack)),
        columns(static_cast<unsigned>(over.dim[3])),
        rows(static_cast<unsigned>(over.dim[2])),
        planes(static_cast<unsigned>(over.dim[1])) {
    check(over.size() <= INT_MAX, "x", "has more than 2^31 - 1 elements");
    threads = static_cast<unsigned>(over.size() / pack);
  }
  dim3 grid() const { return dim3((threads + VOLUME_BLOCK - 1) / VOLUME_BLOCK); }

  template <int PACK>
  GPUDL_DEVICE Place find() const {
    const unsigned index = blockIdx.x * VOLUME_BLOCK + threadIdx.x;
    const unsigned pixel = packs(index), row = columns(pixel), plane = rows(row), n = planes(plane);
    return {static_cast<int>(n),
            static_cast<int>(plane - n * planes.divisor),
            static_cast<int>(row - plane * rows.divisor),
            static_cast<int>(pixel - row * columns.divisor),
            static_cast<int>(index - pixel * packs.divisor) * PACK,
            static_cast<int64_t>(index) * PACK,
            index < threads};
  }
};

// May threads move four channels at a time?
template <class... T>
bool four_channels(int channels, const T*... data) {
  return channels % 4 == 0 && (is_aligned<4>(data) && ...);
}

}  // namespace gpudl::prim
