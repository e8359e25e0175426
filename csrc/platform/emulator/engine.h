// The engine runs a grid on one CPU core, one block at a time, or several resident ones (a cluster, a cooperative
// grid). Each of their threads is a fiber that runs until it must wait. Only the emulator's own files include this;
// kernels include emulator/device.h.
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

constexpr unsigned MAX_THREADS = 1024;           // per block
constexpr unsigned MAX_RESIDENT_THREADS = 8192;  // in all resident blocks
constexpr unsigned MAX_RESIDENT_BLOCKS = 64;

// A resident block.
struct Block {
  dim3 index;
  unsigned number = 0;  // among the resident blocks
  unsigned live = 0;    // threads that have not ended
};

// A thread of a resident block. It owns a stack only from its first instruction to its last.
struct Thread : ThreadIndex {
  Block* home = nullptr;
  unsigned linear = 0, warp = 0, lane = 0;  // in its block
  unsigned slot = 0;                        // in Engine::threads; blocks start at whole warps
  uint32_t priority = 0;
  bool finished = true;
  // Whether it issued asynchronous work, which must be complete when it ends.
  bool has_copies = false, has_stores = false, has_products = false;
  // The word it polled last and the value it saw: see Engine::poll.
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
  // Let other threads run until one wakes this thread.
  void wait(const Site& site);
  void wake(Thread& thread) { scheduler.push(&thread); }
  // Under a random schedule, let others run first.
  void preempt();
  // Let other threads run until the word that this thread polled may have changed.
  void poll(const Site& site);
  void word_changed(const void* address);
  uint64_t linear_block(uint64_t wave, unsigned number) const;

  Scheduler scheduler;
  std::vector<Thread> threads;  // of the resident blocks, each starting at a multiple of 32
  std::vector<Block> blocks;    // the resident ones
  LaunchShape shape{};
  unsigned thread_count = 0;  // per block
  unsigned slots = 0;         // in all resident blocks
  unsigned live = 0;          // threads of all resident blocks that have not ended
  bool running = false;       // a block is running, or its errors are not reported yet

 private:
  void run_wave(uint64_t wave);
  void begin_wave(uint64_t wave);
  dim3 block_index(uint64_t wave, unsigned number) const;
  Thread* begin_next_thread();
  Thread* next_to_run();  // throws if no thread can
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
  unsigned begun_ = 0;  // threads that have started; in order, each starts only when its turn comes
  dim3 next_index_;
  std::vector<Thread*> pollers_;
  unsigned futile_rounds_ = 0;  // rounds in which only pollers ran and nothing changed
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
