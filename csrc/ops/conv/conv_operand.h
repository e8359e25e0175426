// The operands of a convolution for prim/gemm/gemm.h (interface: prim/gemm/gemm_operand.h), which avoid writing the
// matrix of columns to memory. Batches of the product are groups.
//
//   outputs and data gradient, one product per sweep:
//     results[m, to] = sum over k = (tap, from) of SweepColumns[m,k] · weights[to,k]
//   weight gradient, with j = (tap, c):
//     dweight[ko, j] = sum over output pixels k of dy[k,ko] · PixelColumns[k,j]
//
// The weights of a sweep over outputs are already rows of k in memory; those of a data gradient are GradientWeights.
// Groups of 16 bytes stay within a tap, whose channels are contiguous, if the channels of a group are a multiple of the
// elements in 16 bytes; else elements are read one by one.
#pragma once
#include "ops/conv/conv.h"
#include "prim/divisor.h"
#include "prim/gemm/gemm_operand.h"

namespace gpudl::prim {

// A number that counts three axes, the last one fastest.
struct Axes {
  Divisor h, w;

  Axes() = default;
  Axes(int h_extent, int w_extent) : h(h_extent), w(w_extent) {}
  GPUDL_DEVICE Triple split(int n) const {
    const int at_w = w.split(n), at_h = h.split(n);
    return {n, at_h, at_w};
  }
};

template <class T>
constexpr int OPERAND_GROUP = 16 / static_cast<int>(sizeof(T));

template <class T>
bool starts_aligned(const T* data) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0;
}

// The image that a sweep reads: row m = (n, result in it), k = (tap, channel of the group).
template <class T>
struct SweepColumns {
  using Element = T;
  static constexpr bool K_FAST = true;
  static constexpr int GROUP = OPERAND_GROUP<T>;

  const T* from;
  Sweep s;
  Axes results, taps;
  Divisor image, channels;  // results of an image; channels of a group

  SweepColumns(const T* data, const Sweep& sweep)
      : from(data),
        s(sweep),
        results(s.h.results, s.w.results),
        taps(s.h.taps, s.w.taps),
        image(s.results()),
        channels(s.from_c) {}

  // The image's group, null if the row does not exist; and the pixel that tap 0 reads.
  struct Row {
    const T* image;
    int d, h, w;
  };
  GPUDL_DEVICE Row row(int row, int batch) const {
    int n = row;
    const Triple at = results.split(image.split(n));
    const T* data = from + static_cast<int64_t>(n) * s.source_pixels() * s.groups * s.from_c + batch * s.from_c;
    return {n < s.N ? data : nullptr, s.d.source(at.d, 0), s.h.source(at.h, 0), s.w.source(at.w, 0)};
  }
  // Null if a tap reads padding.
  GPUDL_DEVICE const T* at(const Row& row, int k) const {
    int tap = k;
    const int channel = channels.split(tap);
    const Triple j = taps.split(tap);
    const int d = row.d + j.d * s.d.tap_step, h = row.h + j.h * s.h.tap_step, w = row.w + j.w * s.w.tap_step;
    // One comparison each: negative numbers are large unsigned ones.
    const bool inside = static_cast<unsigned>(d) < static_cast<unsigned>(s.d.source_extent) &&
                        static_cast<unsigned>(h) < static_cast<unsigned>(s.h.source_extent) &&
                        static_cast<unsigned>(w) < static_cast<unsigned>(s.w.source_extent);
    const int pixel = (d * s.h.source_extent + h) * s.w.source_extent + w;
    return inside && row.image != nullptr ? row.image + pixel * (s.groups * s.from_c) + channel : nullptr;
  }
  GPUDL_DEVICE const T* group(const Row& row, int k, int k_end, int& valid) const {
    const T* found = k < k_end ? at(row, k) : nullptr;
    valid = found == nullptr ? 0 : GROUP;
    return found;
  }
  GPUDL_DEVICE const T* element(const Row& row, int i, int k, int k_end) const {
    return k + i < k_end ? at(row, k + i) : nullptr;
  }
  GPUDL_DEVICE const T* anywhere() const { return from; }
  bool aligned() const { return starts_aligned(from) && s.from_c % GROUP == 0; }
};

// The weights of a data gradient: row = channel of the target's group, k = (tap, channel of the source's group).
template <class T>
struct GradientWeights {
  using Element = T;
  static constexpr bool K_FAST = false;
  static constexpr int GROUP = OPERAND_GROUP<T>;

  const T* weight;
  Sweep s;
  Axes taps;
  Divisor channels;

  GradientWeights(const T* data, const Sweep& sweep)
      : weight(data), s(sweep), taps(s.h.taps, s.w.taps), channels(s.from_c) {}

  struct Row {
    const T* from;
    int valid;  // rows of the group that exist
  };
  GPUDL_DEVICE Row row(int row, int batch) const {
    return {weight + static_cast<int64_t>(batch) * s.group_weights() + row, max(0, min(GROUP, s.to_c - row))};
  }
  GPUDL_DEVICE const T* group(const Row& row, int k, int k_end, int& valid) const {
    valid = k < k_end ? row.valid : 0;
    int tap = k;
    const int channel = channels.split(tap);
    const Triple j = taps.split(tap);
    return row.from + channel * s.from_step + s.tap_weight(j.d, j.h, j.w);
  }
  GPUDL_DEVICE const T* element(const Row& row, int i, int k, int k_end) const {
    int valid;
    const T* found = group(row, k, k_end, valid);
    return i < valid ? found + i : nullptr;
  }
  GPUDL_DEVICE const T* anywhere() const { return weight; }
  bool aligned() const { return starts_aligned(weight) && s.to_c % GROUP == 0; }
};

// The image for a weight gradient: row = (tap, channel of the group), k = output pixel of the batch.
template <class T>
struct PixelColumns {
  using Element = T;
  static constexpr bool K_FAST = false;
  static constexpr int GROUP = OPERAND_GROUP<T>;

  const T* x;
  ConvShape conv;
  Axes taps, outputs;
  Divisor image, channels;

  PixelColumns(const T* data, const ConvShape& shape)
      : x(data),
        conv(shape),
        taps(conv.h.window, conv.w.window),
        outputs(conv.h.output, conv.w.output),
        image(conv.output_pixels()),
        channels(conv.group_c()) {}

  // The image's channel, -1 if the row does not exist, and the pixel that the tap reads for output 0. No pointer and no
  // batch, because registers are scarce in the main loop on CUDA cores.
  struct Row {
    int channel, d, h, w, row;
  };
  GPUDL_DEVICE Row row(int row, int batch) const {
    int tap = row;
    const int channel = channels.split(tap);
    const Triple j = taps.split(tap);
    return {row < conv.filter_size() ? batch * conv.group_c() + channel : -1, j.d * conv.d.dilation - conv.d.padding,
            j.h * conv.h.dilation - conv.h.padding, j.w * conv.w.dilation - conv.w.padding, row};
  }
  GPUDL_DEVICE const T* group(const Row& row, int k, int k_end, int& valid) const {
    int n = k;
    const Triple at = outputs.split(image.split(n));
    const int d = row.d + at.d * conv.d.stride, h = row.h + at.h * conv.h.stride, w = row.w + at.w * conv.w.stride;
    const bool inside = static_cast<unsigned>(d) < static_cast<unsigned>(conv.d.image) &&
                        static_cast<unsigned>(h) < static_cast<unsigned>(conv.h.image) &&
                        static_cast<unsigned>(w) < static_cast<unsigned>(conv.w.image);
    valid = inside && k < k_end && row.channel >= 0 ? GROUP : 0;
    const int pixel = (d * conv.h.image + h) * conv.w.image + w;
    return x + (static_cast<int64_t>(n) * conv.image_pixels() + pixel) * conv.C + row.channel;
  }
  GPUDL_DEVICE const T* element(const Row& row, int i, int k, int k_end) const {
    int group_number = row.channel, valid;
    if (group_number < 0) return nullptr;
    channels.split(group_number);
    const T* found = group(i == 0 ? row : this->row(row.row + i, group_number), k, k_end, valid);
    return valid > 0 ? found : nullptr;
  }
  GPUDL_DEVICE const T* anywhere() const { return x; }
  bool aligned() const { return starts_aligned(x) && conv.group_c() % GROUP == 0; }
};

// The destination of a sweep's results.
template <class T>
struct SweepResults {
  T* data = nullptr;
  Sweep s{};
  Axes results;
  Divisor image;

  SweepResults(T* to, const Sweep& sweep) : data(to), s(sweep), results(s.h.results, s.w.results), image(s.results()) {}

  GPUDL_DEVICE int64_t offset(int batch, int row) const {
    int n = row;
    const Triple at = results.split(image.split(n));
    const int d = s.d.first + at.d * s.d.step, h = s.h.first + at.h * s.h.step, w = s.w.first + at.w * s.w.step;
    const int64_t pixel = static_cast<int64_t>(n) * s.pixels() + (d * s.h.extent + h) * s.w.extent + w;
    return pixel * (s.groups * s.to_c) + batch * s.to_c;
  }
  bool aligned() const { return reinterpret_cast<uintptr_t>(data) % (4 * sizeof(T)) == 0 && s.to_c % 4 == 0; }
};

}  // namespace gpudl::prim
