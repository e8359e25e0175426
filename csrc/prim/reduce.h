// Reductions over a warp or a block in a fixed tree: the order of operands does not depend on timing, so the bits of
// the result never change. Every thread gets the result. All threads of the warp (block) must take part.
//
//   const float total = prim::block_reduce<BLOCK>(mine, prim::Sum{});
#pragma once
#include <cstdint>
#include <cstring>

#include "platform/device.h"

namespace gpudl::prim {

// Combiners. combine(a, b) must be commutative to the last bit, like floating-point addition: the two partners of an
// exchange compute it with swapped arguments and must agree.
struct Sum {
  template <class T>
  GPUDL_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};

// NaN wins, unlike in fmaxf.
struct Max {
  template <class T>
  GPUDL_DEVICE T operator()(T a, T b) const {
    return b > a || b != b ? b : a;
  }
};

struct Min {
  template <class T>
  GPUDL_DEVICE T operator()(T a, T b) const {
    return b < a || b != b ? b : a;
  }
};

// The value of lane (own ^ mask). T: any trivial type made of 32-bit words.
template <class T>
GPUDL_DEVICE T exchange(T value, int mask) {
  static_assert(sizeof(T) % 4 == 0, "a lane exchanges whole words");
  uint32_t words[sizeof(T) / 4];
  memcpy(words, &value, sizeof(T));
  for (uint32_t& word : words) word = __shfl_xor_sync(~0u, word, mask);
  memcpy(&value, words, sizeof(T));
  return value;
}

// Reduce over each group of WIDTH neighbouring lanes; WIDTH is a power of two.
template <int WIDTH = 32, class T, class Combine>
GPUDL_DEVICE T warp_reduce(T value, Combine combine) {
#pragma unroll
  for (int mask = WIDTH / 2; mask > 0; mask /= 2) value = combine(value, exchange(value, mask));
  return value;
}

// Reduce over a one-dimensional block of BLOCK threads: over each warp, then over the warps' results, which every warp
// computes redundantly. Shared memory: one T per warp. May be called again immediately.
template <int BLOCK, class T, class Combine>
GPUDL_DEVICE T block_reduce(T value, Combine combine) {
  static_assert(BLOCK >= 32 && BLOCK <= 1024 && (BLOCK & (BLOCK - 1)) == 0, "a power of two from 32 to 1024");
  constexpr int WARPS = BLOCK / 32;
  value = warp_reduce(value, combine);
  if constexpr (WARPS > 1) {
    GPUDL_SHARED(T, partial, [WARPS]);
    __syncthreads();  // readers of an earlier call are done
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    value = warp_reduce<WARPS>(partial[threadIdx.x % WARPS], combine);
  }
  return value;
}

// log(sum of exp(x)) = maximum + log(scaled), for any part of a row. Products and sums are rounded separately, so that
// merging is commutative to the last bit. NaN or positive infinity gives NaN, as in PyTorch.
struct OnlineSum {
  float maximum = -INFINITY, scaled = 0;

  // exp(x - maximum), where the maximum of an empty set counts as 0.
  GPUDL_DEVICE static float scale(float x, float maximum) { return expf(x - (maximum == -INFINITY ? 0.f : maximum)); }

  template <int N>
  GPUDL_DEVICE void add(const float (&x)[N]) {
    float top = maximum;
#pragma unroll
    for (int i = 0; i < N; ++i) top = Max{}(top, x[i]);
    float sum = __fmul_rn(scaled, scale(maximum, top));
#pragma unroll
    for (int i = 0; i < N; ++i) sum = __fadd_rn(sum, scale(x[i], top));
    maximum = top;
    scaled = sum;
  }
};

struct MergeOnline {
  GPUDL_DEVICE OnlineSum operator()(OnlineSum a, OnlineSum b) const {
    const float top = Max{}(a.maximum, b.maximum);
    const float left = __fmul_rn(a.scaled, OnlineSum::scale(a.maximum, top));
    return {top, __fadd_rn(left, __fmul_rn(b.scaled, OnlineSum::scale(b.maximum, top)))};
  }
};

}  // namespace gpudl::prim
