// Kernels over channels-last volumes {N, D, H, W, C}, with one thread for PACK neighbouring channels of a pixel, so
// that a warp reads and writes whole cache lines. Images and sequences are volumes whose missing axes have size 1.
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
#include "prim/divisor.h"
#include "prim/elementwise.h"

namespace gpudl::prim {

constexpr int VOLUME_BLOCK = 256;

// The place of a thread: pixel (n, d, h, w), channels from c on.
struct Place {
  int n, d, h, w, c;
  int64_t offset;  // in the array that Places was constructed from
  bool inside;
};

// The mapping of threads to places of a volume.
struct Places {
  unsigned threads;
  Divisor packs, columns, rows, planes;

  template <class T>
  Places(const Volume<T>& over, int pack)
      : packs(over.dim[4] / pack), columns(over.dim[3]), rows(over.dim[2]), planes(over.dim[1]) {
    check(over.size() <= INT_MAX, "x", "has more than 2^31 - 1 elements");
    threads = static_cast<unsigned>(over.size() / pack);
  }
  dim3 grid() const { return dim3((threads + VOLUME_BLOCK - 1) / VOLUME_BLOCK); }

  template <int PACK>
  GPUDL_DEVICE Place find() const {
    const unsigned index = blockIdx.x * VOLUME_BLOCK + threadIdx.x;
    int n = static_cast<int>(index);
    const int c = packs.split(n) * PACK, w = columns.split(n), h = rows.split(n), d = planes.split(n);
    return {n, d, h, w, c, static_cast<int64_t>(index) * PACK, index < threads};
  }
};

// Whether threads may access four channels at a time.
template <class... T>
bool four_channels(int channels, const T*... data) {
  return channels % 4 == 0 && (is_aligned<4>(data) && ...);
}

}  // namespace gpudl::prim
