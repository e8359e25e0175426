// mbarrier (sm_90): a barrier object in shared memory. A phase completes when all its arrivals and all announced bytes
// are in; then the next phase begins. Threads wait for the phase of a parity (the first phase has parity 0).
#pragma once
#include <cstdint>

#include "platform/host_device.h"

namespace gpudl::device {

#if GPUDL_HAS_SM90A

// All take the shared address of 8 aligned bytes. count: arrivals per phase.
GPUDL_DEVICE void mbarrier_init(uint32_t mbarrier, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(mbarrier), "r"(count) : "memory");
}
// Make initialisations visible to TMA; a __syncthreads() afterwards makes them visible to the other threads.
GPUDL_DEVICE void mbarrier_fence_init() {
  asm volatile("fence.mbarrier_init.release.cluster;\n\tfence.proxy.async.shared::cta;" ::: "memory");
}
// End the object's lifetime; its memory may then be reused.
GPUDL_DEVICE void mbarrier_invalidate(uint32_t mbarrier) {
  asm volatile("mbarrier.inval.shared::cta.b64 [%0];" ::"r"(mbarrier) : "memory");
}
GPUDL_DEVICE void mbarrier_arrive(uint32_t mbarrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(mbarrier) : "memory");
}
// Arrive, and announce bytes that copies will deliver in this phase.
GPUDL_DEVICE void mbarrier_arrive_expect_tx(uint32_t mbarrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(mbarrier), "r"(bytes) : "memory");
}
// Arrive at another block's mbarrier, given by its cluster_address.
GPUDL_DEVICE void mbarrier_arrive_cluster(uint32_t mbarrier) {
  asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(mbarrier) : "memory");
}
// A loop, because try_wait returns after a time limit.
GPUDL_DEVICE void mbarrier_wait_parity(uint32_t mbarrier, unsigned parity) {
  asm volatile(
      "{\n\t"
      ".reg .pred complete;\n"
      "wait:\n\t"
      "mbarrier.try_wait.parity.shared::cta.b64 complete, [%0], %1;\n\t"
      "@!complete bra wait;\n\t"
      "}" ::"r"(mbarrier),
      "r"(parity)
      : "memory");
}

#endif

}  // namespace gpudl::device
