#include "platform/emulator/cluster.h"

#include <cstring>
#include <utility>
#include <vector>

#include "platform/emulator/engine.h"
#include "platform/emulator/memory.h"
#include "platform/emulator/race.h"

namespace gpudl::emulator {

namespace {

constexpr int RANK_BIT = 20;  // above any offset in a block's shared memory

// The barrier. Threads alternate between arriving and waiting.
unsigned arrived = 0;
uint64_t phase = 0;                   // number of completed barriers
std::vector<uint64_t> arrivals;       // of each thread
race::Knowledge arriving, completed;  // what the threads knew that arrived: in this phase, in the last one
std::vector<Thread*> waiting;

}  // namespace

void begin_cluster() {
  arrived = 0;
  phase = 0;
  arrivals.assign(engine.slots, 0);
  arriving.times.clear();
  completed.times.clear();
  waiting.clear();
}

unsigned cluster_rank() { return engine.shape.cooperative ? 0 : engine.self().home->number; }
unsigned cluster_size() { return engine.shape.cooperative ? 1 : static_cast<unsigned>(engine.blocks.size()); }

void release_cluster_barrier() {
  if (arrived == 0 || arrived != engine.live) return;
  arrived = 0;
  ++phase;
  completed = std::exchange(arriving, {});
  engine.scheduler.redraw(engine.threads, engine.slots);
  for (Thread* thread : std::exchange(waiting, {})) engine.wake(*thread);
}

void cluster_arrive(const Site& site) {
  Thread& me = engine.self();
  if (arrivals[me.slot] > phase) fail(site, "the thread arrives twice without cluster_wait");
  arrivals[me.slot] = phase + 1;
  ++arrived;
  race::release(me.slot, arriving);
  release_cluster_barrier();
  engine.preempt();
}

void cluster_wait(const Site& site) {
  Thread& me = engine.self();
  if (arrivals[me.slot] == 0) fail(site, "the thread waits without cluster_arrive");
  if (phase < arrivals[me.slot]) {
    waiting.push_back(&me);
    engine.wait(site);
  }
  race::acquire(me.slot, completed);
}

uint32_t cluster_address(uint32_t address, unsigned rank, const Site& site) {
  if (rank >= cluster_size()) fail(site, "rank %u; the cluster has %u blocks", rank, cluster_size());
  shared_bytes(address, 1, 1, site);
  return (rank + 1) << RANK_BIT | address;
}

char* cluster_bytes(uint32_t address, size_t bytes, size_t alignment, const Site& site) {
  const uint32_t rank = address >> RANK_BIT;
  if (rank == 0) return shared_bytes(address, bytes, alignment, site);
  const uint32_t offset = address & ((1u << RANK_BIT) - 1);
  if (rank > cluster_size()) fail(site, "shared address 0x%x belongs to no block of the cluster", address);
  if (engine.blocks[rank - 1].live == 0)
    fail(site, "block %u of the cluster has ended: it must not end while others access its shared memory", rank - 1);
  return shared_bytes(offset, bytes, alignment, site) - engine.self().shared + shared_memory_of(rank - 1);
}

uint32_t cluster_load(uint32_t address, const Site& site) {
  const char* bytes = cluster_bytes(address, 4, 4, site);
  race::access(bytes, 4, false, site);
  uint32_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

void cluster_store(uint32_t address, uint32_t value, const Site& site) {
  char* bytes = cluster_bytes(address, 4, 4, site);
  race::access(bytes, 4, true, site);
  std::memcpy(bytes, &value, sizeof value);
}

}  // namespace gpudl::emulator
