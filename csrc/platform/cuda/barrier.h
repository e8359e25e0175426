// Named barriers.
#pragma once
#include "platform/host_device.h"

namespace gpudl::device {

// Named barrier id (1 to 15): wait until `threads` threads in all (whole warps) have arrived. arrive does not wait.
GPUDL_DEVICE void named_barrier_sync(int id, int threads) {
  asm volatile("barrier.cta.sync.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
GPUDL_DEVICE void named_barrier_arrive(int id, int threads) {
  asm volatile("barrier.cta.arrive.aligned %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace gpudl::device
