// Atomic operations on integers. There is none on floating-point numbers on purpose: the order of additions, and with
// it the bits of the result, would change from run to run.
#pragma once
#include "platform/emulator/error.h"

namespace gpudl::emulator {

enum class Atomic { add, min, max, exchange, compare, bit_and, bit_or, bit_xor };

// Returns the old value. Others may run first, and the race detector takes note. expected: of compare alone.
template <class T>
T atomic(Atomic operation, T* address, T value, T expected, const Site& site);

void fence();

}  // namespace gpudl::emulator

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

// Fences order the accesses of a thread as others see them. The emulator's memory is always in order; its race detector
// wants one before an atomic operation that tells another block of finished work.
inline void __threadfence() { ::gpudl::emulator::fence(); }
inline void __threadfence_block() {}
inline void __nanosleep(unsigned) {}
