#include "platform/emulator/atomic.h"

#include <algorithm>

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

}  // namespace

template <class T>
T atomic(Atomic operation, T* address, T value, T expected, const Site& site) {
  if (reinterpret_cast<uintptr_t>(address) % sizeof(T) != 0)
    fail(site, "address %p is misaligned: it must be a multiple of %zu", static_cast<void*>(address), sizeof(T));
  engine.preempt();
  race::atomic_access(address, sizeof(T), site);
  const T old = *address;
  *address = changed(operation, old, value, expected);
  return old;
}

template int atomic(Atomic, int*, int, int, const Site&);
template unsigned atomic(Atomic, unsigned*, unsigned, unsigned, const Site&);
template unsigned long long atomic(Atomic, unsigned long long*, unsigned long long, unsigned long long, const Site&);

void fence() { race::block_fence(); }

}  // namespace gpudl::emulator
