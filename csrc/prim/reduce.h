// Reductions over a warp or a block in a fixed tree: the order of the operands never depends on timing, so the bits of
// the result never change. Every thread gets the result. All threads of the warp (block) must take part.
//
//   const float total = prim::block_reduce<BLOCK>(mine, prim::Sum{});
#pragma once
#include <cstdint>
#include <cstring>

#include "platform/device.h"

namespace gpudl::prim {

// What to reduce with. Combine(a, b) must be commutative up to the last bit, as floating-point addition is: the two
// partners of an exchange compute it with swapped arguments and must agree.
struct Sum {
  template <class T>
  GPUDL_DEVICE T operator()(T a, T b) const {
    return a + b;
  }
};

// A NaN wins, unlike fmaxf's rule.
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

// The value of the lane whose number differs by `mask`. T is any trivial type made of 32-bit words.
template <class T>
GPUDL_DEVICE T exchange(T value, int mask) {
  static_assert(sizeof(T) % 4 == 0, "a lane exchanges whole words");
  uint32_t words[sizeof(T) / 4];
  memcpy(words, &value, sizeof(T));
  for (uint32_t& word : words) word = __shfl_xor_sync(~0u, word, mask);
  memcpy(&value, words, sizeof(T));
  return value;
}

// Over each group of WIDTH neighbouring lanes; WIDTH is a power of two.
template <int WIDTH = 32, class T, class Combine>
GPUDL_DEVICE T warp_reduce(T value, Combine combine) {
#pragma unroll
  for (int mask = WIDTH / 2; mask > 0; mask /= 2) value = combine(value, exchange(value, mask));
  return value;
}

// Over the whole one-dimensional block of BLOCK threads: a warp each, then over the warps' results, which every warp
// computes for itself. Shared memory: one T per warp. May be called again at once.
template <int BLOCK, class T, class Combine>
GPUDL_DEVICE T block_reduce(T value, Combine combine) {
  static_assert(BLOCK >= 32 && BLOCK <= 1024 && (BLOCK & (BLOCK - 1)) == 0, "a power of two from 32 to 1024");
  constexpr int WARPS = BLOCK / 32;
  value = warp_reduce(value, combine);
  if constexpr (WARPS > 1) {
    GPUDL_SHARED(T, partial, [WARPS]);
    __syncthreads();  // an earlier call's readers are done
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();
    value = warp_reduce<WARPS>(partial[threadIdx.x % WARPS], combine);
  }
  return value;
}

}  // namespace gpudl::prim
