// A collective: the lanes of a warp in a mask meet, and the last to arrive does the work for all of them. Shuffles,
// votes, ldmatrix, mma and wgmma are built on it.
#pragma once
#include <cstdint>

#include "platform/emulator/error.h"

namespace gpudl::emulator {

struct Thread;

// arguments[lane] is that lane's argument; null for lanes outside the mask.
using CollectiveWork = void (*)(void* const* arguments, uint32_t mask);

void warp_collective(uint32_t mask, void* argument, CollectiveWork work, const Site& site);

void begin_collectives();                   // for new blocks
void lane_ended(const Thread& thread);      // fails if others wait for it
uint32_t live_lanes(unsigned global_warp);  // lanes that have not ended

// The same with a typed argument: work(Argument* const* arguments, uint32_t mask).
template <class Argument, class Work>
void warp_collective(uint32_t mask, Argument& argument, Work, const Site& site) {
  warp_collective(
      mask, &argument,
      [](void* const* arguments, uint32_t mask) { Work{}(reinterpret_cast<Argument* const*>(arguments), mask); }, site);
}

}  // namespace gpudl::emulator
