// The engine: runs a grid on one CPU core, one block at a time, each thread of the block a fiber that runs until it
// must wait. Only the emulator's own files include this; kernels see emulator/device.h.
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

// One thread of the running block. It owns a stack only from its first instruction to its last.
struct Thread : ThreadIndex {
  unsigned linear = 0, warp = 0, lane = 0;
  uint32_t priority = 0;
  bool finished = true;
  // It issued asynchronous work, which must be complete when it ends.
  bool has_copies = false, has_stores = false, has_products = false;
  Stack* stack = nullptr;
  Site waiting;
};

class Engine {
 public:
  void run(dim3 grid, dim3 block, size_t dynamic_bytes, void (*body)(void*), void* arguments);

  Thread& self() { return *static_cast<Thread*>(current); }
  // Let the others run until someone wakes this thread.
  void wait(const Site& site);
  void wake(Thread& thread) { scheduler.push(&thread); }
  // Give others the chance to run first, where the schedule is a random one.
  void preempt();

  Scheduler scheduler;
  std::vector<Thread> threads;  // of the running block
  unsigned thread_count = 0;
  unsigned live = 0;     // threads that have not ended
  bool running = false;  // a block, until its errors are told
  size_t dynamic_bytes = 0;

 private:
  void run_block(uint64_t linear);
  void begin_block();
  Thread* begin_next_thread();
  Thread* next_to_run();  // throws if nobody can
  Thread* thread_ended(Thread& thread);
  void switch_to(Stack* from, Thread* to);  // null: the host
  void arrive(void* fake_stack);
  void abandon_stacks();
  [[noreturn]] void rethrow_error();
  Stack* take_stack();
  [[noreturn]] void fail_deadlock() const;
  [[noreturn]] void run_fiber();
  static void fiber_entry();

  unsigned begun_ = 0;  // threads that have started; in order they start only when their turn comes
  dim3 next_index_;
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
