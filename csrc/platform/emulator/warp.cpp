#include "platform/emulator/warp.h"

#include "platform/emulator/engine.h"
#include "platform/emulator/race.h"

namespace gpudl::emulator {

void warp_barrier(uint32_t mask, const Site& site) {
  Thread& me = engine.self();
  warp_collective(
      mask, me,
      [](Thread* const* lanes, uint32_t mask) {
        unsigned slots[32], count = 0;
        for (int lane = 0; lane < 32; ++lane)
          if (mask >> lane & 1) slots[count++] = lanes[lane]->slot;
        race::threads_met(slots, count, {});
      },
      site);
}

uint32_t vote(uint32_t mask, bool predicate, const Site& site) {
  struct Vote {
    bool predicate;
    uint32_t result;
  } mine{predicate, 0};
  warp_collective(
      mask, mine,
      [](Vote* const* lanes, uint32_t mask) {
        uint32_t yes = 0;
        for (int lane = 0; lane < 32; ++lane)
          if (mask >> lane & 1) yes |= static_cast<uint32_t>(lanes[lane]->predicate) << lane;
        for (int lane = 0; lane < 32; ++lane)
          if (mask >> lane & 1) lanes[lane]->result = yes;
      },
      site);
  return mine.result;
}

uint32_t active_lanes() { return live_lanes(engine.self().global_warp()); }

void fail_shuffle(const Site& site, int lane, int source, uint32_t mask) {
  fail(site, "lane %d reads from lane %d, which mask 0x%08x does not name", lane, source, mask);
}

}  // namespace gpudl::emulator
