// The engine: runs a grid on one CPU core, one block at a time, or a few that are alive at once (a cluster, a grid that
// was launched cooperatively); each of their threads is a fiber that runs until it must wait. Only the emulator's own
// files include this; kernels see emulator/device.h.
#pragma once
#include <cstdint>
#include <exception>
#include <memory>
#include <vector>

#include "platform/emulator/context.h"
#include "platform/emulator/error.h"
#include "platform/emulator/launch.h"
#include "platform/emulator/options.h"
#include "platform/emulator/scheduler.h"
#include "platform/emulator/thread.h"

namespace gpudl::emulator {

constexpr unsigned MAX_THREADS = 1024;           // of a block
constexpr unsigned MAX_RESIDENT_THREADS = 8192;  // of all blocks that are alive at once
constexpr unsigned MAX_RESIDENT_BLOCKS = 64;

// One of the blocks that are alive.
struct Block {
  dim3 index;
  unsigned number = 0;  // among them
  unsigned live = 0;    // threads that have not ended
};

// A thread of those blocks. It owns a stack only from its first instruction to its last.
struct Thread : ThreadIndex {
  Block* home = nullptr;
  unsigned linear = 0, warp = 0, lane = 0;  // in its block
  unsigned slot = 0;                        // in Engine::threads, whole warps
  uint32_t priority = 0;
  bool finished = true;
  // It issued asynchronous work, which must be complete when it ends.
  bool has_copies = false, has_stores = false, has_products = false;
  // What it last saw where it looked for another block's word: see Engine::poll.
  const void* polled = nullptr;
  uint64_t polled_value = 0;
  Stack* stack = nullptr;
  Site waiting;

  unsigned global_warp() const { return slot / 32; }
};

class Engine {
 public:
  void run(const LaunchShape& shape, void (*body)(void*), void* arguments);

  Thread& self() { return *static_cast<Thread*>(current); }
  // Let the others run until someone wakes this thread.
  void wait(const Site& site);
  void wake(Thread& thread) { scheduler.push(&thread); }
  // Give others the chance to run first, where the schedule is a random one.
  void preempt();
  // Let the others run until the word that this thread has polled may have changed.
  void poll(const Site& site);
  void word_changed(const void* address);
  uint64_t linear_block(uint64_t wave, unsigned number) const;

  Scheduler scheduler;
  std::vector<Thread> threads;  // of the blocks that are alive, each from a multiple of 32
  std::vector<Block> blocks;    // that are alive
  LaunchShape shape{};
  unsigned thread_count = 0;  // of a block
  unsigned slots = 0;         // of all of them
  unsigned live = 0;          // threads that have not ended, of all blocks
  bool running = false;       // some block, until its errors are told

 private:
  void run_wave(uint64_t wave);
  void begin_wave(uint64_t wave);
  dim3 block_index(uint64_t wave, unsigned number) const;
  Thread* begin_next_thread();
  Thread* next_to_run();  // throws if nobody can
  bool wake_pollers();
  Thread* thread_ended(Thread& thread);
  void switch_to(Stack* from, Thread* to);  // null: the host
  void arrive(void* fake_stack);
  void abandon_stacks();
  [[noreturn]] void rethrow_error();
  Stack* take_stack();
  [[noreturn]] void fail_deadlock() const;
  [[noreturn]] void run_fiber();
  static void fiber_entry();

  uint64_t wave_ = 0;
  unsigned begun_ = 0;  // threads that have started; in order they start only when their turn comes
  dim3 next_index_;
  std::vector<Thread*> pollers_;
  unsigned futile_rounds_ = 0;  // in which only they ran, and nothing changed
  void (*body_)(void*) = nullptr;
  void* arguments_ = nullptr;
  std::exception_ptr error_;
  std::vector<std::unique_ptr<Stack>> stacks_;
  std::vector<Stack*> idle_;
  Context host_;
  void* host_fake_stack_ = nullptr;
  const void* host_bottom_ = nullptr;
  size_t host_bytes_ = 0;
  bool left_host_ = false;
};

extern Engine engine;

}  // namespace gpudl::emulator
