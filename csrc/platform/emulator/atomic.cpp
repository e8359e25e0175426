#include "platform/emulator/atomic.h"

#include <algorithm>

#include "platform/emulator/barrier.h"
#include "platform/emulator/engine.h"
#include "platform/emulator/race.h"

namespace gpudl::emulator {

namespace {

template <class T>
T changed(Atomic operation, T old, T value, T expected) {
  switch (operation) {
    case Atomic::add:
      return static_cast<T>(static_cast<unsigned long long>(old) + static_cast<unsigned long long>(value));
    case Atomic::min: return std::min(old, value);
    case Atomic::max: return std::max(old, value);
    case Atomic::exchange: return value;
    case Atomic::compare: return old == expected ? value : old;
    case Atomic::bit_and: return old & value;
    case Atomic::bit_or: return old | value;
    default: return old ^ value;
  }
}

void check_alignment(const void* address, size_t bytes, const Site& site) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0)
    fail(site, "address %p is misaligned: it must be a multiple of %zu", address, bytes);
}

}  // namespace

template <class T>
T atomic(Atomic operation, T* address, T value, T expected, const Site& site) {
  check_alignment(address, sizeof(T), site);
  engine.preempt();
  race::atomic_access(address, sizeof(T), false, false, site);
  const T old = *address;
  *address = changed(operation, old, value, expected);
  engine.word_changed(address);
  return old;
}

template int atomic(Atomic, int*, int, int, const Site&);
template unsigned atomic(Atomic, unsigned*, unsigned, unsigned, const Site&);
template unsigned long long atomic(Atomic, unsigned long long*, unsigned long long, unsigned long long, const Site&);

void fence() { race::block_fence(); }

unsigned load_acquire(const unsigned* address, const Site& site) {
  check_alignment(address, sizeof(unsigned), site);
  engine.preempt();
  Thread& me = engine.self();
  if (me.polled == address && me.polled_value == *address) engine.poll(site);
  race::atomic_access(address, sizeof(unsigned), true, false, site);
  me.polled = address;
  me.polled_value = *address;
  return *address;
}

unsigned add_release(unsigned* address, unsigned value, const Site& site) {
  check_alignment(address, sizeof(unsigned), site);
  engine.preempt();
  race::atomic_access(address, sizeof(unsigned), false, true, site);
  const unsigned old = *address;
  *address = old + value;
  engine.word_changed(address);
  return old;
}

void store_release(unsigned* address, unsigned value, const Site& site) {
  check_alignment(address, sizeof(unsigned), site);
  engine.preempt();
  race::atomic_access(address, sizeof(unsigned), false, true, site);
  *address = value;
  engine.word_changed(address);
}

void grid_sync(unsigned* counter, const Site& site) {
  if (!engine.shape.cooperative) fail(site, "only blocks of a launch_cooperative may wait for each other");
  constexpr unsigned TURN = 1u << 31;  // flips when all blocks have arrived
  const unsigned blocks = static_cast<unsigned>(engine.blocks.size());
  const Thread& me = engine.self();
  block_barrier(site);
  if (me.linear == 0) {
    const unsigned old = add_release(counter, me.home->number == 0 ? TURN - (blocks - 1) : 1, site);
    const unsigned arrivals = old & ~TURN;
    if (arrivals >= blocks && arrivals < TURN - blocks)
      fail(site, "the counter holds 0x%x: it must be zero when first used", old);
    while (((load_acquire(counter, site) ^ old) & TURN) == 0) {
    }
  }
  block_barrier(site);
}

}  // namespace gpudl::emulator
