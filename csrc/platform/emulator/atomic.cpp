#include "platform/emulator/atomic.h"

#include "platform/emulator/engine.h"
#include "platform/emulator/race.h"

namespace gpudl::emulator {

void before_atomic(const void* address, size_t bytes, const Site& site) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0)
    fail(site, "address %p is misaligned: it must be a multiple of %zu", address, bytes);
  engine.preempt();
  race::atomic_access(address, bytes, site);
}

void fence() { race::block_fence(); }

}  // namespace gpudl::emulator
