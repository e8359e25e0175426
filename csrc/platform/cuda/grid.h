// Synchronisation of resident blocks through words of memory, and a barrier of the whole grid built on one such word.
// It needs neither cooperative_groups nor the device runtime, only that all blocks are resident (launch_cooperative).
#pragma once
#include <cuda_runtime.h>

#include "platform/host_device.h"

namespace gpudl::device {

// Read a word that another block may change. Everything that block did before the store_release or add_release of the
// value read is visible afterwards. May be polled in a loop.
GPUDL_DEVICE unsigned load_acquire(const unsigned* word) {
  unsigned value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(__cvta_generic_to_global(word)) : "memory");
  return value;
}
GPUDL_DEVICE void store_release(unsigned* word, unsigned value) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(__cvta_generic_to_global(word)), "r"(value) : "memory");
}
GPUDL_DEVICE void add_release(unsigned* word, unsigned value) {
  asm volatile("red.release.gpu.global.add.u32 [%0], %1;" ::"l"(__cvta_generic_to_global(word)), "r"(value) : "memory");
}

// A barrier of all threads of a cooperative launch. Earlier writes are visible afterwards to ordinary loads (not to
// __ldg or const __restrict__ data, which may come from a stale cache). The counter is one word of global memory that
// is zero at first use (see clear).
//
// Every block adds 1, except the first, which adds so much that the total is 2^31: the highest bit flips when the last
// block arrives and the lower bits are unchanged, so the word serves any number of barriers and launches.
GPUDL_DEVICE void grid_sync(unsigned* counter) {
  constexpr unsigned TURN = 1u << 31;
  __syncthreads();
  if (threadIdx.x == 0 && threadIdx.y == 0 && threadIdx.z == 0) {
    const unsigned blocks = gridDim.x * gridDim.y * gridDim.z;
    const unsigned mine = blockIdx.x == 0 && blockIdx.y == 0 && blockIdx.z == 0 ? TURN - (blocks - 1) : 1;
    unsigned old;
    asm volatile("atom.release.gpu.global.add.u32 %0, [%1], %2;"
                 : "=r"(old)
                 : "l"(__cvta_generic_to_global(counter)), "r"(mine)
                 : "memory");
    while (((load_acquire(counter) ^ old) & TURN) == 0) {
    }
  }
  __syncthreads();
}

}  // namespace gpudl::device
