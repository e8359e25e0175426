// A collective: the named lanes of a warp, or the 128 threads of a warpgroup, meet, and the last one to come does the
// work for all of them. Shuffles, votes, ldmatrix, mma and wgmma are all made of this.
#pragma once
#include <cstdint>

#include "platform/emulator/error.h"

namespace gpudl::emulator {

struct Thread;

// arguments[lane] is what that lane brought; null for lanes outside the mask.
using CollectiveWork = void (*)(void* const* arguments, uint32_t mask);

void warp_collective(uint32_t mask, void* argument, CollectiveWork work, const Site& site);

void begin_collectives();                   // new blocks
void lane_ended(const Thread& thread);      // fails if others wait for it
uint32_t live_lanes(unsigned global_warp);  // those that have not ended

// The same with a typed argument: work(Argument* const* arguments, uint32_t mask).
template <class Argument, class Work>
void warp_collective(uint32_t mask, Argument& argument, Work, const Site& site) {
  warp_collective(
      mask, &argument,
      [](void* const* arguments, uint32_t mask) { Work{}(reinterpret_cast<Argument* const*>(arguments), mask); }, site);
}

}  // namespace gpudl::emulator
