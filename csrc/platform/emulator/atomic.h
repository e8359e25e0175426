// Atomic operations on integers. There is none on floating-point numbers on purpose: the order of additions, and with
// it the bits of the result, would change from run to run.
#pragma once
#include <cstdint>

#include "platform/emulator/error.h"

namespace gpudl::emulator {

// Before an atomic operation: others may run first, and the race detector takes note.
void before_atomic(const void* address, size_t bytes, const Site& site);

void fence();

template <class T, class Change>
T atomic(T* address, Change change, const Site& site) {
  before_atomic(address, sizeof(T), site);
  const T old = *address;
  *address = change(old);
  return old;
}

}  // namespace gpudl::emulator

#define GPUDL_ATOMIC(name, T, expression)                                                                   \
  inline T name(T* address, T value, ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here(#name)) { \
    return ::gpudl::emulator::atomic(address, [value](T old) { return static_cast<T>(expression); }, site); \
  }
#define GPUDL_ATOMICS(T)                                                                          \
  GPUDL_ATOMIC(atomicAdd, T, old + value)                                                         \
  GPUDL_ATOMIC(atomicMin, T, value < old ? value : old)                                           \
  GPUDL_ATOMIC(atomicMax, T, value > old ? value : old)                                           \
  GPUDL_ATOMIC(atomicExch, T, (static_cast<void>(old), value))                                    \
  GPUDL_ATOMIC(atomicAnd, T, old& value)                                                          \
  GPUDL_ATOMIC(atomicOr, T, old | value)                                                          \
  GPUDL_ATOMIC(atomicXor, T, old ^ value)                                                         \
  inline T atomicCAS(T* address, T expected, T value,                                             \
                     ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("atomicCAS")) { \
    return ::gpudl::emulator::atomic(                                                             \
        address, [expected, value](T old) { return old == expected ? value : old; }, site);       \
  }
GPUDL_ATOMICS(int)
GPUDL_ATOMICS(unsigned)
GPUDL_ATOMICS(unsigned long long)
#undef GPUDL_ATOMICS
#undef GPUDL_ATOMIC

// Fences order the accesses of a thread as others see them. The emulator's memory is always in order; its race detector
// wants one before an atomic operation that tells another block of finished work.
inline void __threadfence() { ::gpudl::emulator::fence(); }
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) {}
