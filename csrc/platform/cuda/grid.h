// Words through which blocks that are alive at once tell each other, and a barrier of the whole grid made of one such
// word. It needs neither cooperative_groups nor a device runtime, only that all blocks are resident
// (launch_cooperative).
#pragma once
#include <cuda_runtime.h>

#include "platform/host_device.h"

namespace gpudl::device {

// Read a word that another block may change: what that block had done before its store_release or add_release of the
// value that is read is visible from now on. May be polled in a loop.
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

// All threads of all blocks of a cooperative launch meet; what they wrote before is visible to all of them after it,
// to ordinary loads (not to __ldg or const __restrict__ data, which may come from a stale cache). The counter is one
// word of global memory that was zero when first used (see clear).
//
// Every block adds 1, the first one so much that all together add 2^31: the highest bit flips when the last has come,
// and the lower bits are as they were, so that the word serves any number of barriers and launches.
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
