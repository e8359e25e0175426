// mbarrier: a barrier object in shared memory. A phase completes when all its arrivals and all announced bytes are in;
// then the next phase begins. Threads wait for the phase of a parity (the first phase has parity 0).
#pragma once
#include <cstdint>
#include <string>

#include "platform/emulator/error.h"

namespace gpudl::emulator {

void mbarrier_init(uint32_t address, int count, const Site& site);
void mbarrier_invalidate(uint32_t address, const Site& site);
void mbarrier_arrive(uint32_t address, int64_t expected_bytes, const Site& site);
void mbarrier_expect(uint32_t address, int64_t expected_bytes, const Site& site);
void mbarrier_wait(uint32_t address, unsigned parity, const Site& site);
void mbarrier_fence(const Site& site);

// For asynchronous copies, which complete on an mbarrier. agent: see race.h.
void mbarrier_check_for_copy(uint32_t address, const Site& site);
void mbarrier_complete(uint32_t address, int64_t bytes, unsigned agent, const Site& site);

void begin_mbarriers();                    // for new blocks
std::string describe_awaited_mbarriers();  // what they lack, for messages

}  // namespace gpudl::emulator

namespace gpudl::device {

using emulator::Site;

// All take the shared address of 8 aligned bytes. count: arrivals per phase.
inline void mbarrier_init(uint32_t mbarrier, int count, Site site = Site::here("mbarrier_init")) {
  emulator::mbarrier_init(mbarrier, count, site);
}
// Make initialisations visible to TMA; a __syncthreads() afterwards makes them visible to the other threads.
inline void mbarrier_fence_init(Site site = Site::here("mbarrier_fence_init")) { emulator::mbarrier_fence(site); }
// End the object's lifetime; its memory may then be reused.
inline void mbarrier_invalidate(uint32_t mbarrier, Site site = Site::here("mbarrier_invalidate")) {
  emulator::mbarrier_invalidate(mbarrier, site);
}
inline void mbarrier_arrive(uint32_t mbarrier, Site site = Site::here("mbarrier_arrive")) {
  emulator::mbarrier_arrive(mbarrier, 0, site);
}
// Arrive, and announce bytes that copies will deliver in this phase.
inline void mbarrier_arrive_expect_tx(uint32_t mbarrier, int bytes,
                                      Site site = Site::here("mbarrier_arrive_expect_tx")) {
  emulator::mbarrier_arrive(mbarrier, bytes, site);
}
// Arrive at another block's mbarrier, given by its cluster_address.
inline void mbarrier_arrive_cluster(uint32_t mbarrier, Site site = Site::here("mbarrier_arrive_cluster")) {
  emulator::mbarrier_arrive(mbarrier, 0, site);
}
inline void mbarrier_wait_parity(uint32_t mbarrier, unsigned parity, Site site = Site::here("mbarrier_wait_parity")) {
  emulator::mbarrier_wait(mbarrier, parity, site);
}

}  // namespace gpudl::device
