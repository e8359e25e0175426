// The race detector's interface. For every agent (a thread of a resident block, or an asynchronous unit that works for
// one) it tracks what the agent knows of the others' past through synchronisation alone. Two accesses to one address,
// at least one of them a write, are a race if neither agent knows of the other's access, in whatever order they ran.
//
// It needs kernels compiled with -fsanitize=thread: the compiler then reports every access to race_hooks.cpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "platform/emulator/error.h"

namespace gpudl::emulator::race {

extern bool enabled;  // set when instrumented code is loaded

// The knowledge of an agent: for every other agent, the time up to which its past is known.
struct Knowledge {
  std::vector<uint32_t> times;
  void join(const Knowledge& other);
};

void begin_launch();
// A wave: the blocks that are resident together. Thread::slot numbers the threads of all of them.
void begin_wave(uint64_t wave, unsigned threads);
void end_wave();            // throws an Error if there were races
std::string take_report();  // the report of end_wave, if the wave failed for another reason

// Accesses by the running thread that the compiler does not see.
void access(const void* address, size_t bytes, bool write, const Site& site);
void thread_access(unsigned thread, const void* address, size_t bytes, bool write, const Site& site);
// acquires, releases: by itself. After a __threadfence() of its thread, any atomic operation does both.
void atomic_access(const void* address, size_t bytes, bool acquires, bool releases, const Site& site);

// Synchronisation. earlier: the knowledge of threads that arrived without waiting.
void threads_met(const unsigned* threads, size_t count, const Knowledge& earlier);
void release(unsigned agent, Knowledge& into);
void acquire(unsigned agent, const Knowledge& from);
void block_fence();  // __threadfence

// Asynchronous units. start: the unit begins work that `thread` issued. finish: `thread` knows that it is done.
unsigned tma_agent();
unsigned product_agent(unsigned warp, size_t group);
void start(unsigned agent, unsigned thread);
void finish(unsigned agent, unsigned thread);
void agent_access(unsigned agent, const void* address, size_t bytes, bool write, const Site& site);
void proxy_fence();  // such units may read the running thread's writes to shared memory from now on

}  // namespace gpudl::emulator::race
