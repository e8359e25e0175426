// Atomic operations on integers. Floating-point atomics are missing on purpose: the order of additions, and with it the
// bits of the result, would change from run to run.
#pragma once
#include "platform/emulator/error.h"

namespace gpudl::emulator {

enum class Atomic { add, min, max, exchange, compare, bit_and, bit_or, bit_xor };

// Returns the old value. Other threads may run first, and the race detector is informed. expected: for compare only.
template <class T>
T atomic(Atomic operation, T* address, T value, T expected, const Site& site);

void fence();

// Synchronisation of resident blocks through words of memory: see the CUDA platform's grid.h.
unsigned load_acquire(const unsigned* address, const Site& site);
unsigned add_release(unsigned* address, unsigned value, const Site& site);  // returns the old value
void store_release(unsigned* address, unsigned value, const Site& site);
void grid_sync(unsigned* counter, const Site& site);

}  // namespace gpudl::emulator

namespace gpudl::device {

using emulator::Site;

// Read a word that another block may change. Everything that block did before the store_release or add_release of the
// value read is visible afterwards. May be polled in a loop.
inline unsigned load_acquire(const unsigned* word, Site site = Site::here("load_acquire")) {
  return emulator::load_acquire(word, site);
}
inline void store_release(unsigned* word, unsigned value, Site site = Site::here("store_release")) {
  emulator::store_release(word, value, site);
}
inline void add_release(unsigned* word, unsigned value, Site site = Site::here("add_release")) {
  emulator::add_release(word, value, site);
}
// A barrier of all threads of a cooperative launch; earlier writes are visible to all of them afterwards. The counter
// is one word of global memory that is zero at first use (see clear); a barrier leaves its lower bits unchanged, so it
// serves any number of barriers and launches.
inline void grid_sync(unsigned* counter, Site site = Site::here("grid_sync")) { emulator::grid_sync(counter, site); }

}  // namespace gpudl::device

#define GPUDL_ATOMIC(T, name, operation)                                                                    \
  inline T name(T* address, T value, ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here(#name)) { \
    return ::gpudl::emulator::atomic<T>(::gpudl::emulator::Atomic::operation, address, value, {}, site);    \
  }
#define GPUDL_ATOMICS(T)                                                                                     \
  GPUDL_ATOMIC(T, atomicAdd, add)                                                                            \
  GPUDL_ATOMIC(T, atomicMin, min)                                                                            \
  GPUDL_ATOMIC(T, atomicMax, max)                                                                            \
  GPUDL_ATOMIC(T, atomicExch, exchange)                                                                      \
  GPUDL_ATOMIC(T, atomicAnd, bit_and)                                                                        \
  GPUDL_ATOMIC(T, atomicOr, bit_or)                                                                          \
  GPUDL_ATOMIC(T, atomicXor, bit_xor)                                                                        \
  inline T atomicCAS(T* address, T expected, T value,                                                        \
                     ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("atomicCAS")) {            \
    return ::gpudl::emulator::atomic<T>(::gpudl::emulator::Atomic::compare, address, value, expected, site); \
  }
GPUDL_ATOMICS(int)
GPUDL_ATOMICS(unsigned)
GPUDL_ATOMICS(unsigned long long)
#undef GPUDL_ATOMICS
#undef GPUDL_ATOMIC

// Fences order the accesses of a thread as others see them. The emulator's memory is always in order, but its race
// detector requires a fence before an atomic operation that signals finished work to another block.
inline void __threadfence() { ::gpudl::emulator::fence(); }
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) {}
