// Padding of the spatial axes of channels-last volumes: constant, reflect, replicate, circular.
// Grid: one thread for PACK neighbouring channels of one pixel of the array written (prim/volume.h). PACK is 4, or 1 if
// the number of channels is not a multiple of 4 or an array is not aligned to 16 bytes.
#include "core/export.h"
#include "prim/volume.h"

namespace gpudl {
namespace {

using namespace prim;

enum Mode { CONSTANT, REFLECT, REPLICATE, CIRCULAR };

// One axis: x has `size` elements, y has `padded`, `before` of them ahead of x (negative: cropped).
struct Border {
  int size, padded, before;

  // The element of x that element p of y copies; -1: none.
  GPUDL_DEVICE int source(int p, int mode) const {
    const int i = p - before;
    if (mode == REPLICATE) return min(max(i, 0), size - 1);
    if (i >= 0 && i < size) return i;
    if (mode == REFLECT) return i < 0 ? -i : 2 * (size - 1) - i;
    if (mode == CIRCULAR) return i < 0 ? i + size : i - size;
    return -1;
  }
  // The elements of y that copy element i of x: copy(i, k) for k < copies(i); -1: none.
  GPUDL_DEVICE int copies(int i, int mode) const {
    if (mode == CONSTANT) return 1;
    if (mode != REPLICATE) return 3;
    return 1 + (i == 0 ? before : 0) + (i == size - 1 ? padded - before - size : 0);
  }
  GPUDL_DEVICE int copy(int i, int k, int mode) const {
    if (mode == REPLICATE) return i == 0 ? k : i + before + k;
    int p = i + before;
    if (k > 0) {
      if (mode == CIRCULAR) {
        p += k == 1 ? -size : size;
      } else {
        const int edge = k == 1 ? 0 : size - 1;  // the edge has no mirror image
        p = i == edge ? -1 : before + 2 * edge - i;
        // A place inside x belongs to another element.
        if (p >= before && p < before + size) p = -1;
      }
    }
    return p >= 0 && p < padded ? p : -1;
  }
};

struct Borders {
  Border d, h, w;
  int mode;
};

template <class X, class Y>
Borders borders(const Volume<X>& x, const Volume<Y>& y, Triple before, int mode) {
  return {{x.dim[1], y.dim[1], before.d}, {x.dim[2], y.dim[2], before.h}, {x.dim[3], y.dim[3], before.w}, mode};
}

// sass: pad_spatial_forward_kernel LDG STG registers<=48
template <int PACK>
__global__ void __launch_bounds__(VOLUME_BLOCK)
    pad_spatial_forward_kernel(Volume<const float> x, Volume<float> y, Borders borders, float value, Places places) {
  const Place at = places.find<PACK>();
  if (!at.inside) return;
  const int d = borders.d.source(at.d, borders.mode), h = borders.h.source(at.h, borders.mode),
            w = borders.w.source(at.w, borders.mode);
  Pack<float, PACK> copied;
  for (float& element : copied.at) element = value;
  if (d >= 0 && h >= 0 && w >= 0) copied = load_pack<PACK>(&x(at.n, d, h, w, at.c));
  store_pack(y.data + at.offset, copied);
}

// dx = sum of dy over the copies of the element, gathered in a fixed order.
// sass: pad_spatial_backward_kernel LDG STG registers<=64
template <int PACK>
__global__ void __launch_bounds__(VOLUME_BLOCK, 4)
    pad_spatial_backward_kernel(Volume<const float> dy, Volume<float> dx, Borders borders, Places places) {
  const Place at = places.find<PACK>();
  if (!at.inside) return;
  const int mode = borders.mode, depth = borders.d.copies(at.d, mode), rows = borders.h.copies(at.h, mode),
            columns = borders.w.copies(at.w, mode);
  Pack<float, PACK> sum{};
  for (int i = 0; i < depth; ++i) {
    const int d = borders.d.copy(at.d, i, mode);
    if (d < 0) continue;
    for (int j = 0; j < rows; ++j) {
      const int h = borders.h.copy(at.h, j, mode);
      if (h < 0) continue;
      for (int k = 0; k < columns; ++k) {
        const int w = borders.w.copy(at.w, k, mode);
        if (w < 0) continue;
        const auto gradient = load_pack<PACK>(&dy(at.n, d, h, w, at.c));
#pragma unroll
        for (int c = 0; c < PACK; ++c) sum.at[c] += gradient.at[c];
      }
    }
  }
  store_pack(dx.data + at.offset, sum);
}

void pad_spatial_forward_direct(Volume<const float> x, Volume<float> y, Triple before, int mode, float value) {
  const bool four = four_channels(x.dim[4], x.data, y.data);
  const Places places(y, four ? 4 : 1);
  launch(four ? pad_spatial_forward_kernel<4> : pad_spatial_forward_kernel<1>, places.grid(), VOLUME_BLOCK, 0, x, y,
         borders(x, y, before, mode), value, places);
}
GPUDL_EXPORT(pad_spatial, forward, direct, x, y, before, mode, value);

void pad_spatial_backward_direct(Volume<const float> dy, Volume<float> dx, Triple before, int mode) {
  const bool four = four_channels(dx.dim[4], dy.data, dx.data);
  const Places places(dx, four ? 4 : 1);
  launch(four ? pad_spatial_backward_kernel<4> : pad_spatial_backward_kernel<1>, places.grid(), VOLUME_BLOCK, 0, dy, dx,
         borders(dx, dy, before, mode), places);
}
GPUDL_EXPORT(pad_spatial, backward, direct, dy, dx, before, mode);

}  // namespace
}  // namespace gpudl
