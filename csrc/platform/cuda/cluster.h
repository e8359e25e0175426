// Clusters (sm_90): blocks that are resident together, access each other's shared memory and share a barrier.
#pragma once
#include <cstdint>

#include "platform/host_device.h"

namespace gpudl::device {

#if GPUDL_HAS_SM90A

// The number of this block in its cluster, and the cluster's number of blocks. See launch_cluster.
GPUDL_DEVICE unsigned cluster_rank() {
  unsigned rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
GPUDL_DEVICE unsigned cluster_size() {
  unsigned size;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}

// A barrier of all threads of the cluster, in two halves: what a thread did before its arrive is visible to the others
// after their wait. A block must not end while others may still access its shared memory.
GPUDL_DEVICE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
GPUDL_DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
GPUDL_DEVICE void cluster_sync() {
  cluster_arrive();
  cluster_wait();
}

// The same shared address in another block. Only the functions below, and those that say so, accept it.
GPUDL_DEVICE uint32_t cluster_address(uint32_t address, unsigned rank) {
  uint32_t mapped;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(address), "r"(rank));
  return mapped;
}
GPUDL_DEVICE uint32_t cluster_load(uint32_t address) {
  uint32_t value;
  asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}
GPUDL_DEVICE void cluster_store(uint32_t address, uint32_t value) {
  asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}

#endif

}  // namespace gpudl::device
