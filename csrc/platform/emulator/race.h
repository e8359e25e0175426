// Race detection: see race.cpp. Everything here costs one test of a flag in builds whose kernels are not instrumented.
#pragma once
#include <cstddef>
#include <cstdint>

#include "platform/emulator/error.h"

namespace gpudl::emulator::race {

constexpr bool enabled = false;

// `count` threads met, and all know now what each of them had done: thread(i) is the linear index of the i-th.
template <class ThreadOf>
void barrier_passed(size_t count, ThreadOf&& thread) {
  (void)count, (void)thread;
}

}  // namespace gpudl::emulator::race
