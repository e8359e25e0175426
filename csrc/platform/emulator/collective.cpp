#include "platform/emulator/collective.h"

#include <vector>

#include "platform/emulator/engine.h"

namespace gpudl::emulator {

namespace {

// Lanes that wait at one collective.
struct Meeting {
  uint32_t mask = 0;
  uint32_t arrived = 0;
  CollectiveWork work = nullptr;
  Site site;
  void* arguments[32];
};

struct Warp {
  uint32_t lanes = 0;             // lanes that have not ended
  std::vector<Meeting> meetings;  // with disjoint masks: a diverged warp may hold several
};

std::vector<Warp> warps;

int lowest_lane(uint32_t mask) { return __builtin_ctz(mask); }

Meeting& find_meeting(Warp& warp, uint32_t mask, CollectiveWork work, const Site& site) {
  Meeting* unused = nullptr;
  for (Meeting& meeting : warp.meetings) {
    if (meeting.arrived == 0) {
      unused = &meeting;
    } else if (meeting.mask & mask) {
      if (meeting.mask != mask || meeting.work != work || !meeting.site.same_place(site))
        fail(site, "the warp diverged: with mask 0x%08x, while lane %d waits in %s at %s:%d with mask 0x%08x", mask,
             lowest_lane(meeting.arrived), meeting.site.word, meeting.site.file, meeting.site.line, meeting.mask);
      return meeting;
    }
  }
  if (unused == nullptr) unused = &warp.meetings.emplace_back();
  unused->mask = mask;
  unused->work = work;
  unused->site = site;
  for (void*& argument : unused->arguments) argument = nullptr;
  return *unused;
}

}  // namespace

void begin_collectives() {
  const unsigned of_block = (engine.thread_count + 31) / 32;
  warps.resize(engine.blocks.size() * of_block);
  for (size_t w = 0; w < warps.size(); ++w) {
    const unsigned lanes = engine.thread_count - static_cast<unsigned>(w % of_block) * 32;
    warps[w].lanes = lanes >= 32 ? ~0u : (1u << lanes) - 1;
    for (Meeting& meeting : warps[w].meetings) meeting.arrived = 0;
  }
}

uint32_t live_lanes(unsigned global_warp) { return warps[global_warp].lanes; }

void lane_ended(const Thread& thread) {
  Warp& warp = warps[thread.global_warp()];
  warp.lanes &= ~(1u << thread.lane);
  for (const Meeting& meeting : warp.meetings)
    if (meeting.arrived != 0 && (meeting.mask >> thread.lane & 1))
      fail(meeting.site,
           "lane %u has ended, but lane %d waits for it (mask 0x%08x): every lane of the mask must take part",
           thread.lane, lowest_lane(meeting.arrived), meeting.mask);
}

void warp_collective(uint32_t mask, void* argument, CollectiveWork work, const Site& site) {
  Thread& me = engine.self();
  Warp& warp = warps[me.global_warp()];
  const uint32_t bit = 1u << me.lane;
  if (!(mask & bit)) fail(site, "lane %u calls it, but is not in mask 0x%08x", me.lane, mask);
  if (mask & ~warp.lanes)
    fail(site, "mask 0x%08x names lane %d, which %s: every lane of the mask must take part", mask,
         lowest_lane(mask & ~warp.lanes),
         me.warp * 32 + lowest_lane(mask & ~warp.lanes) < engine.thread_count ? "has ended"
                                                                              : "this block does not have");
  Meeting& meeting = find_meeting(warp, mask, work, site);
  meeting.arrived |= bit;
  meeting.arguments[me.lane] = argument;
  if (meeting.arrived != mask) return engine.wait(site);

  ++counted.collectives;
  work(meeting.arguments, mask);
  meeting.arrived = 0;
  Thread* first = &me - me.lane;
  for (uint32_t others = mask & ~bit; others != 0; others &= others - 1) engine.wake(first[lowest_lane(others)]);
  engine.preempt();
}

}  // namespace gpudl::emulator
