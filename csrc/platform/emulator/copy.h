// cp.async: asynchronous copies from global to shared memory. Here they land as late as allowed, when the thread waits
// for them, and until then their destination is NaN, which exposes a missing or too weak wait.
#pragma once
#include <cstddef>
#include <cstdint>

#include "platform/emulator/error.h"

namespace gpudl::emulator {

struct Thread;

void copy_async(uint32_t destination, const void* source, size_t bytes, size_t source_bytes, const Site& site);
void commit_copies();
void wait_for_copies(size_t groups_left);

void check_copies_complete(const Thread& thread);

}  // namespace gpudl::emulator

namespace gpudl::device {

using emulator::Site;

// Copy BYTES bytes to a shared address; the last BYTES - source_bytes are not read but set to zero.
template <int BYTES>
inline void cp_async(uint32_t destination, const void* source, int source_bytes = BYTES,
                     Site site = Site::here("cp_async")) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async copies 4, 8 or 16 bytes");
  emulator::copy_async(destination, source, BYTES, static_cast<size_t>(source_bytes), site);
}
inline void cp_async_commit() { emulator::commit_copies(); }
// Wait until at most N of this thread's committed groups are in flight.
template <int N>
inline void cp_async_wait() {
  emulator::wait_for_copies(N);
}

}  // namespace gpudl::device
