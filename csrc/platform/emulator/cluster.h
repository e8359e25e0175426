// Clusters: blocks that are resident together, access each other's shared memory and share a barrier.
#pragma once
#include <cstdint>

#include "platform/emulator/error.h"

namespace gpudl::emulator {

unsigned cluster_rank();
unsigned cluster_size();
void cluster_arrive(const Site& site);
void cluster_wait(const Site& site);
// Cluster addresses hold the block's rank plus one in their upper bits; plain addresses of the own block hold 0 there.
uint32_t cluster_address(uint32_t address, unsigned rank, const Site& site);
// The bytes at a cluster address or an address of the own block. The block must not have ended.
char* cluster_bytes(uint32_t address, size_t bytes, size_t alignment, const Site& site);
uint32_t cluster_load(uint32_t address, const Site& site);
void cluster_store(uint32_t address, uint32_t value, const Site& site);

void begin_cluster();            // for new blocks
void release_cluster_barrier();  // if all threads have arrived

}  // namespace gpudl::emulator

namespace gpudl::device {

using emulator::Site;

// The number of this block in its cluster, and the cluster's number of blocks. See launch_cluster.
inline unsigned cluster_rank() { return emulator::cluster_rank(); }
inline unsigned cluster_size() { return emulator::cluster_size(); }

// A barrier of all threads of the cluster, in two halves: what a thread did before its arrive is visible to the others
// after their wait. A block must not end while others may still access its shared memory.
inline void cluster_arrive(Site site = Site::here("cluster_arrive")) { emulator::cluster_arrive(site); }
inline void cluster_wait(Site site = Site::here("cluster_wait")) { emulator::cluster_wait(site); }
inline void cluster_sync(Site site = Site::here("cluster_sync")) {
  emulator::cluster_arrive(site);
  emulator::cluster_wait(site);
}

// The same shared address in another block. Only the functions below, and those that say so, accept it.
inline uint32_t cluster_address(uint32_t address, unsigned rank, Site site = Site::here("cluster_address")) {
  return emulator::cluster_address(address, rank, site);
}
inline uint32_t cluster_load(uint32_t address, Site site = Site::here("cluster_load")) {
  return emulator::cluster_load(address, site);
}
inline void cluster_store(uint32_t address, uint32_t value, Site site = Site::here("cluster_store")) {
  emulator::cluster_store(address, value, site);
}

}  // namespace gpudl::device
