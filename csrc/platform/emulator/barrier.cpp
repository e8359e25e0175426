#include "platform/emulator/barrier.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "platform/emulator/engine.h"
#include "platform/emulator/race.h"

namespace gpudl::emulator {

namespace {

struct Arrival {
  Thread* thread;
  bool waits;
};

struct Barrier {
  unsigned expected = 0;  // threads; unused for barrier 0, which expects all threads that have not ended
  unsigned trues = 0;     // true predicates of a vote of the block
  std::vector<Arrival> arrivals;
  race::Knowledge arrived;  // what the threads knew that arrived without waiting
  // For each warp: the lanes that have arrived, and where. A warp must arrive together.
  uint32_t lanes[32] = {};
  Site site[32];
};

constexpr unsigned BARRIERS = 16;

struct BlockBarriers {
  Barrier barrier[BARRIERS];
  unsigned last_trues = 0;  // of the last vote: its threads read it before any of them can reach the next
};
std::vector<BlockBarriers> all;  // of each resident block

BlockBarriers& own() { return all[engine.self().home->number]; }

void clear(Barrier& barrier) {
  barrier.trues = 0;
  barrier.arrivals.clear();
  barrier.arrived.times.clear();
  std::fill(std::begin(barrier.lanes), std::end(barrier.lanes), 0);
}

void release(Barrier& barrier, unsigned& last_trues) {
  unsigned waiting[1024];
  size_t count = 0;
  for (const Arrival& arrival : barrier.arrivals)
    if (arrival.waits) waiting[count++] = arrival.thread->slot;
  race::threads_met(waiting, count, barrier.arrived);
  engine.scheduler.redraw(engine.threads, engine.slots);
  for (const Arrival& arrival : barrier.arrivals)
    if (arrival.waits) engine.wake(*arrival.thread);
  last_trues = barrier.trues;
  clear(barrier);
}

}  // namespace

void begin_barriers() {
  all.resize(engine.blocks.size());
  for (BlockBarriers& block : all)
    for (Barrier& barrier : block.barrier) clear(barrier);
}

void release_block_barrier(const Block& block) {
  BlockBarriers& its = all[block.number];
  if (!its.barrier[0].arrivals.empty() && its.barrier[0].arrivals.size() == block.live)
    release(its.barrier[0], its.last_trues);
}

void block_barrier(const Site& site) { block_count(false, site); }

unsigned block_count(bool predicate, const Site& site) {
  Barrier& barrier = own().barrier[0];
  Thread& me = engine.self();
  if (!barrier.arrivals.empty()) {
    const Thread& first = *barrier.arrivals.front().thread;
    if (!first.waiting.same_place(site))
      fail(site, "the block diverged: thread %u waits in %s at %s:%d", first.linear, first.waiting.word,
           first.waiting.file, first.waiting.line);
  }
  barrier.arrivals.push_back({&me, true});
  barrier.trues += predicate;
  me.waiting = site;
  release_block_barrier(*me.home);
  engine.wait(site);
  return all[me.home->number].last_trues;
}

void named_barrier(unsigned id, unsigned threads, bool waits, const Site& site) {
  if (id == 0 || id >= BARRIERS) fail(site, "barrier is %u; named barriers are 1 to 15 (0 is __syncthreads)", id);
  if (threads == 0 || threads % 32 != 0 || threads > 1024)
    fail(site, "barrier %u expects %u threads; it must be a multiple of 32, at most 1024", id, threads);
  Barrier& barrier = own().barrier[id];
  Thread& me = engine.self();
  if (barrier.arrivals.empty()) barrier.expected = threads;
  if (barrier.expected != threads) {
    const Thread& first = *barrier.arrivals.front().thread;
    const Site& there = barrier.site[first.warp];
    fail(site, "barrier %u expects %u threads here, but %u at %s:%d, where thread %u came first", id, threads,
         barrier.expected, there.file, there.line, first.linear);
  }
  uint32_t& lanes = barrier.lanes[me.warp];
  Site& there = barrier.site[me.warp];
  if (lanes >> me.lane & 1)
    fail(site, "thread %u arrives at barrier %u again before the others have arrived (first at %s:%d)", me.linear, id,
         there.file, there.line);
  if (lanes != 0 && !there.same_place(site))
    fail(site, "the warp diverged: other lanes are in %s at %s:%d", there.word, there.file, there.line);
  lanes |= 1u << me.lane;
  there = site;
  barrier.arrivals.push_back({&me, waits});
  if (!waits) race::release(me.slot, barrier.arrived);
  if (barrier.arrivals.size() == threads) release(barrier, own().last_trues);  // wakes this thread too, if it waits
  waits ? engine.wait(site) : engine.preempt();
}

}  // namespace gpudl::emulator
