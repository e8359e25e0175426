#include "platform/emulator/race.h"

#include "platform/emulator/engine.h"
#include "platform/emulator/race_clock.h"
#include "platform/emulator/race_shadow.h"

namespace gpudl::emulator::race {

bool enabled = false;

void begin_launch() {
  if (enabled) shadow_begin_launch();
}

void begin_wave(uint64_t wave, unsigned threads) {
  if (!enabled) return;
  clocks.begin_wave(threads);
  shadow_begin_wave(wave);
}

void access(const void* address, size_t bytes, bool write, const Site& site) {
  if (enabled) thread_access(engine.self().slot, address, bytes, write, site);
}

void thread_access(unsigned thread, const void* address, size_t bytes, bool write, const Site& site) {
  if (enabled) shadow_access(thread, address, bytes, write ? Kind::write : Kind::read, Place::of_site(site));
}

void atomic_access(const void* address, size_t bytes, bool acquires, bool releases, const Site& site) {
  if (!enabled) return;
  const unsigned me = engine.self().slot;
  shadow_access(me, address, bytes, Kind::atomic, Place::of_site(site));
  exchange(me, address, acquires, releases);
}

void agent_access(unsigned agent, const void* address, size_t bytes, bool write, const Site& site) {
  if (enabled) shadow_access(agent, address, bytes, write ? Kind::write : Kind::read, Place::of_site(site));
}

void threads_met(const unsigned* threads, size_t count, const Knowledge& earlier) {
  if (enabled) clocks.met(threads, count, earlier);
}

void release(unsigned agent, Knowledge& into) {
  if (enabled) clocks.release(agent, into);
}

void acquire(unsigned agent, const Knowledge& from) {
  if (enabled) clocks.acquire(agent, from.times);
}

void block_fence() {
  if (enabled) shadow_fence(engine.self().slot);
}

unsigned tma_agent() { return enabled ? clocks.next_tma_agent() : 0; }

unsigned product_agent(unsigned warp, size_t group) { return enabled ? clocks.product_agent(warp, group) : 0; }

void start(unsigned agent, unsigned thread) {
  if (enabled) clocks.tell(thread, agent);
}

void finish(unsigned agent, unsigned thread) {
  if (enabled) clocks.tell(agent, thread);
}

void proxy_fence() {
  if (enabled) clocks.fence(engine.self().slot);
}

}  // namespace gpudl::emulator::race
