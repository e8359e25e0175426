// Windows of pools along the axes of a volume: equally spaced (Sliding), or a given number that covers an axis
// (Adaptive). The elements of a window are its taps, numbered in row-major order.
#pragma once
#include "prim/volume.h"

namespace gpudl::prim {

// The windows along one axis that may contain a position: from `first` to `last`; with dilation, not all of them do.
struct Cover {
  int first, last;
};

// Taps [from, to) of a window that lie inside x; tap t is at position start + t*step.
struct Span {
  int start, step, from, to;
  GPUDL_DEVICE int at(int tap) const { return start + tap * step; }
};

// One axis: window p has the taps p*stride - padding + t*dilation, t < length.
struct Sliding {
  static constexpr int BLOCKS = 4;  // per multiprocessor, which limits the registers
  int length, stride, padding, dilation;

  GPUDL_DEVICE Span span(int p, int size) const {
    const int start = p * stride - padding;
    if (dilation == 1) return {start, 1, max(0, -start), min(length, size - start)};
    const int from = start < 0 ? (dilation - 1 - start) / dilation : 0;
    return {start, dilation, from, start < size ? min(length, (size - start + dilation - 1) / dilation) : 0};
  }
  GPUDL_DEVICE Cover cover(int at, int windows, int) const {
    const int from = at + padding - (length - 1) * dilation, last = (at + padding) / stride;
    return {from > 0 ? (from + stride - 1) / stride : 0, min(last, windows - 1)};
  }
  // The tap of window p (in the cover) at position `at`; -1: none.
  GPUDL_DEVICE int tap(int p, int at, int, int) const {
    const int distance = at + padding - p * stride;
    if (dilation == 1) return distance;
    return distance % dilation == 0 ? distance / dilation : -1;
  }
  // Elements of window p inside x, or inside x and its padding.
  GPUDL_DEVICE int count(int p, int, int size, bool count_padding) const {
    const int start = p * stride - padding, margin = count_padding ? padding : 0;
    return min(start + length, size + margin) - max(start, -margin);
  }
};

// One axis: window p of `windows` covers floor(p*size/windows) up to but not including ceil((p+1)*size/windows).
struct Adaptive {
  static constexpr int BLOCKS = 3;  // 64-bit divisions need registers
  int length, windows, size;        // length: most taps of a window

  Adaptive(int size, int windows)
      : length(size % windows ? size / windows + 2 : size / windows), windows(windows), size(size) {}

  GPUDL_DEVICE int start(int p) const { return static_cast<int>(static_cast<int64_t>(p) * size / windows); }
  GPUDL_DEVICE int end(int p) const {
    return static_cast<int>((static_cast<int64_t>(p + 1) * size + windows - 1) / windows);
  }
  GPUDL_DEVICE Span span(int p, int) const { return {start(p), 1, 0, end(p) - start(p)}; }
  GPUDL_DEVICE Cover cover(int at, int, int) const {
    const int64_t from = static_cast<int64_t>(at) * windows;
    return {static_cast<int>(from / size), static_cast<int>((from + windows - 1) / size)};
  }
  GPUDL_DEVICE int tap(int p, int at, int, int) const { return at - start(p); }
  GPUDL_DEVICE int count(int p, int, int, bool) const { return end(p) - start(p); }
};

template <class Axis>
struct Windows {
  Axis d, h, w;

  // The number of tap (r, s, t).
  GPUDL_DEVICE int number(int r, int s, int t) const { return (r * h.length + s) * w.length + t; }
};

inline Windows<Sliding> sliding(Triple kernel, Triple stride, Triple padding, Triple dilation) {
  return {{kernel.d, stride.d, padding.d, dilation.d},
          {kernel.h, stride.h, padding.h, dilation.h},
          {kernel.w, stride.w, padding.w, dilation.w}};
}

template <class X, class Y>
Windows<Adaptive> adaptive(const Volume<X>& x, const Volume<Y>& y) {
  return {{x.dim[1], y.dim[1]}, {x.dim[2], y.dim[2]}, {x.dim[3], y.dim[3]}};
}

}  // namespace gpudl::prim
