// Clusters: blocks that are alive together, reach each other's shared memory and have a barrier of their own.
#pragma once
#include <cstdint>

#include "platform/emulator/error.h"

namespace gpudl::emulator {

unsigned cluster_rank();
unsigned cluster_size();
void cluster_arrive(const Site& site);
void cluster_wait(const Site& site);
// Addresses of the cluster hold the block's rank, plus one, in their upper bits: those of the own block alone have
// none.
uint32_t cluster_address(uint32_t address, unsigned rank, const Site& site);
// What a cluster's address, or one of the own block, stands for. The block must not have ended.
char* cluster_bytes(uint32_t address, size_t bytes, size_t alignment, const Site& site);
uint32_t cluster_load(uint32_t address, const Site& site);
void cluster_store(uint32_t address, uint32_t value, const Site& site);

void begin_cluster();            // new blocks
void release_cluster_barrier();  // if no thread is missing any more

}  // namespace gpudl::emulator

namespace gpudl::device {

using emulator::Site;

// Which block of its cluster this is, and how many the cluster has. See launch_cluster.
inline unsigned cluster_rank() { return emulator::cluster_rank(); }
inline unsigned cluster_size() { return emulator::cluster_size(); }

// A barrier of all threads of the cluster, in two halves: what a thread did before its arrive is visible to the others
// after their wait. A block must not end while others may still reach for its shared memory.
inline void cluster_arrive(Site site = Site::here("cluster_arrive")) { emulator::cluster_arrive(site); }
inline void cluster_wait(Site site = Site::here("cluster_wait")) { emulator::cluster_wait(site); }
inline void cluster_sync(Site site = Site::here("cluster_sync")) {
  emulator::cluster_arrive(site);
  emulator::cluster_wait(site);
}

// The address of another block's counterpart of a shared address. Only the words below, and those that say so, take it.
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
