// The race detector, as the rest of the emulator sees it. It keeps for every agent (a thread of a block that is alive,
// or a unit that works for one asynchronously) what it knows of the others' past, by barriers alone: two accesses to
// one place, at least one of them a write, that neither knows of the other are a race, however this run happened to
// order them.
//
// It works where kernels are compiled with -fsanitize=thread: the compiler then reports every access to race_hooks.cpp.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "platform/emulator/error.h"

namespace gpudl::emulator::race {

extern bool enabled;  // set when instrumented code is loaded

// What somebody knows: of every agent, the time up to which its past is known.
struct Knowledge {
  std::vector<uint32_t> times;
  void join(const Knowledge& other);
};

void begin_launch();
// A wave: the blocks that are alive together. Its threads are numbered through all of them (Thread::slot).
void begin_wave(uint64_t wave, unsigned threads);
void end_wave();            // throws an Error if there were races
std::string take_report();  // what end_wave would say, where the wave failed for another reason

// Accesses by the running thread that the compiler does not see.
void access(const void* address, size_t bytes, bool write, const Site& site);
void thread_access(unsigned thread, const void* address, size_t bytes, bool write, const Site& site);
// acquires, releases: by itself; any atomic operation does both for what a __threadfence() of its thread precedes.
void atomic_access(const void* address, size_t bytes, bool acquires, bool releases, const Site& site);

// Synchronisation. earlier: what those knew who arrived without waiting.
void threads_met(const unsigned* threads, size_t count, const Knowledge& earlier);
void release(unsigned agent, Knowledge& into);
void acquire(unsigned agent, const Knowledge& from);
void block_fence();  // __threadfence

// Asynchronous units. start: it begins work that `thread` has issued. finish: `thread` knows that the work is done.
unsigned tma_agent();
unsigned product_agent(unsigned warp, size_t group);
void start(unsigned agent, unsigned thread);
void finish(unsigned agent, unsigned thread);
void agent_access(unsigned agent, const void* address, size_t bytes, bool write, const Site& site);
void proxy_fence();  // the running thread's writes to shared memory may be read by such units from now on

}  // namespace gpudl::emulator::race
