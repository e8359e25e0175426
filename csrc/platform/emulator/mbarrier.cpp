#include "platform/emulator/mbarrier.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "platform/emulator/cluster.h"
#include "platform/emulator/engine.h"
#include "platform/emulator/memory.h"
#include "platform/emulator/race.h"

namespace gpudl::emulator {

namespace {

// The object itself. Shared memory holds only a mark in its place, which detects overwriting.
struct Mbarrier {
  uint32_t address;
  const char* place;
  int count, pending;  // arrivals per phase, and those that this phase still lacks
  int64_t bytes = 0;   // announced but not in yet; negative while copies are ahead of their announcement
  unsigned phase = 0;  // parity of the current phase
  bool visible_to_tma = false;
  const Thread* initialiser;
  Site site;
  race::Knowledge arriving, completed;  // what the arriving threads knew: in this phase, in all completed ones
  std::vector<Thread*> waiting;
};

constexpr int MAX_COUNT = (1 << 20) - 1;  // of arrivals, and of bytes
std::vector<Mbarrier> mbarriers;

uint64_t mark_of(uint32_t address) { return 0x6d62617272696572ull ^ (uint64_t{address} << 32 | address); }

Mbarrier* find(const char* place) {
  for (Mbarrier& mbarrier : mbarriers)
    if (mbarrier.place == place) return &mbarrier;
  return nullptr;
}

// In the own block, or by a cluster address in another one.
Mbarrier& existing(uint32_t address, const Site& site, bool used_by_thread = true) {
  const char* bytes = cluster_bytes(address, 8, 8, site);
  Mbarrier* mbarrier = find(bytes);
  if (mbarrier == nullptr) fail(site, "no mbarrier was initialised at shared address 0x%x", address);
  uint64_t mark;
  std::memcpy(&mark, bytes, sizeof mark);
  if (mark != mark_of(mbarrier->address))
    fail(site, "the mbarrier at shared address 0x%x (initialised at %s:%d) was overwritten by data", address,
         mbarrier->site.file, mbarrier->site.line);
  if (used_by_thread) race::access(bytes, 8, false, site);  // its initialisation was a write
  return *mbarrier;
}

void complete_phase_if_due(Mbarrier& mbarrier) {
  if (mbarrier.pending != 0 || mbarrier.bytes != 0) return;
  mbarrier.phase ^= 1;
  mbarrier.pending = mbarrier.count;
  mbarrier.completed.join(mbarrier.arriving);
  for (Thread* thread : mbarrier.waiting) engine.wake(*thread);
  mbarrier.waiting.clear();
}

void announce(Mbarrier& mbarrier, int64_t bytes, const Site& site) {
  mbarrier.bytes += bytes;
  if (bytes < 0 || mbarrier.bytes > MAX_COUNT)
    fail(site, "%lld bytes announced, %lld in this phase; both must be from 0 to %d", static_cast<long long>(bytes),
         static_cast<long long>(mbarrier.bytes), MAX_COUNT);
}

}  // namespace

void begin_mbarriers() { mbarriers.clear(); }

void mbarrier_init(uint32_t address, int count, const Site& site) {
  char* bytes = shared_bytes(address, 8, 8, site);
  if (count < 1 || count > MAX_COUNT) fail(site, "a count of %d; it must be from 1 to %d", count, MAX_COUNT);
  if (const Mbarrier* other = find(bytes))
    fail(site, "shared address 0x%x holds an mbarrier, initialised at %s:%d; call mbarrier_invalidate first", address,
         other->site.file, other->site.line);
  race::access(bytes, 8, true, site);
  const uint64_t mark = mark_of(address);
  std::memcpy(bytes, &mark, sizeof mark);
  Mbarrier& mbarrier = mbarriers.emplace_back();
  mbarrier.address = address;
  mbarrier.place = bytes;
  mbarrier.count = mbarrier.pending = count;
  mbarrier.initialiser = &engine.self();
  mbarrier.site = site;
}

void mbarrier_invalidate(uint32_t address, const Site& site) {
  Mbarrier& mbarrier = existing(address, site);
  if (!mbarrier.waiting.empty())
    fail(site, "%zu threads wait for this mbarrier, the first at %s:%d", mbarrier.waiting.size(),
         mbarrier.waiting.front()->waiting.file, mbarrier.waiting.front()->waiting.line);
  char* bytes = shared_bytes(address, 8, 8, site);
  race::access(bytes, 8, true, site);
  std::memset(bytes, 0xff, 8);
  mbarriers.erase(mbarriers.begin() + (&mbarrier - mbarriers.data()));
}

void mbarrier_fence(const Site&) {
  for (Mbarrier& mbarrier : mbarriers)
    if (mbarrier.initialiser == &engine.self()) mbarrier.visible_to_tma = true;
}

void mbarrier_arrive(uint32_t address, int64_t expected_bytes, const Site& site) {
  Mbarrier& mbarrier = existing(address, site);
  if (mbarrier.pending == 0)
    fail(site, "all %d arrivals of this phase are in and it waits for %lld bytes: arrive again in the next phase only",
         mbarrier.count, static_cast<long long>(mbarrier.bytes));
  announce(mbarrier, expected_bytes, site);
  race::release(engine.self().slot, mbarrier.arriving);
  --mbarrier.pending;
  complete_phase_if_due(mbarrier);
  engine.preempt();
}

void mbarrier_wait(uint32_t address, unsigned parity, const Site& site) {
  if (parity > 1) fail(site, "parity %u; it is 0 or 1, so use & 1", parity);
  for (;;) {
    Mbarrier& mbarrier = existing(address, site);  // look it up again: others may have come and gone meanwhile
    if (mbarrier.phase != parity) {
      race::acquire(engine.self().slot, mbarrier.completed);
      return;
    }
    mbarrier.waiting.push_back(&engine.self());
    engine.wait(site);
  }
}

std::string describe_awaited_mbarriers() {
  std::string text;
  for (const Mbarrier& mbarrier : mbarriers) {
    if (mbarrier.waiting.empty()) continue;
    char line[200];
    snprintf(line, sizeof line,
             "; the phase of the mbarrier at shared address 0x%x lacks %d of %d arrivals and %lld bytes",
             mbarrier.address, mbarrier.pending, mbarrier.count, static_cast<long long>(mbarrier.bytes));
    text += line;
  }
  return text;
}

void mbarrier_check_for_copy(uint32_t address, const Site& site) {
  if (!existing(address, site).visible_to_tma)
    fail(site,
         "this mbarrier may not be visible to TMA: the thread that initialised it must call mbarrier_fence_init()");
}

void mbarrier_complete(uint32_t address, int64_t bytes, unsigned agent, const Site& site) {
  Mbarrier& mbarrier = existing(address, site, false);
  mbarrier.bytes -= bytes;
  if (mbarrier.bytes < -MAX_COUNT)
    fail(site, "%lld bytes arrived that were not announced", static_cast<long long>(-mbarrier.bytes));
  race::release(agent, mbarrier.arriving);
  complete_phase_if_due(mbarrier);
}

}  // namespace gpudl::emulator
