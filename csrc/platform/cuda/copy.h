// cp.async: asynchronous copies from global to shared memory that bypass registers.
#pragma once
#include <cstdint>

#include "platform/host_device.h"

namespace gpudl::device {

#if GPUDL_HAS_SM80

// Copy BYTES bytes to a shared address; the last BYTES - source_bytes are not read but set to zero.
template <int BYTES>
GPUDL_DEVICE void cp_async(uint32_t destination, const void* source, int source_bytes = BYTES) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
  // Only 16-byte copies may bypass L1 (cg); smaller ones are cached there (ca).
  if constexpr (BYTES == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(destination),
                 "l"(__cvta_generic_to_global(source)), "r"(source_bytes)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(destination),
                 "l"(__cvta_generic_to_global(source)), "n"(BYTES), "r"(source_bytes)
                 : "memory");
}
GPUDL_DEVICE void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Wait until at most N of this thread's committed groups are in flight.
template <int N>
GPUDL_DEVICE void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#endif

}  // namespace gpudl::device
