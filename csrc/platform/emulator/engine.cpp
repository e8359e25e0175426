#include "platform/emulator/engine.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "platform/emulator/barrier.h"
#include "platform/emulator/collective.h"
#include "platform/emulator/copy.h"
#include "platform/emulator/fault.h"
#include "platform/emulator/mbarrier.h"
#include "platform/emulator/memory.h"
#include "platform/emulator/race.h"
#include "platform/emulator/sanitizer.h"
#include "platform/emulator/tma.h"
#include "platform/emulator/wgmma.h"

namespace gpudl::emulator {

Engine engine;
ThreadIndex* current = nullptr;
dim3 block_index, block_extent, grid_extent;

namespace {

constexpr unsigned MAX_THREADS = 1024;

void check_extents(dim3 grid, dim3 block) {
  const Site site = Site::here("launch", "", 0);
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    fail(site, "a grid of (%u,%u,%u) blocks; at least 1 and at most (2147483647,65535,65535) can be launched", grid.x,
         grid.y, grid.z);
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > MAX_THREADS || block.z > 64)
    fail(site, "a block of (%u,%u,%u) threads; at least 1 and at most 1024 can be launched, 64 of them along z",
         block.x, block.y, block.z);
}

}  // namespace

void run(dim3 grid, dim3 block, size_t dynamic_bytes, void (*body)(void*), void* arguments) {
  static std::mutex one_at_a_time;
  static thread_local bool inside = false;
  if (inside) fail(Site::here("launch", "", 0), "a kernel launched a kernel");
  check_extents(grid, block);
  const std::lock_guard lock(one_at_a_time);
  inside = true;
  struct Leave {
    ~Leave() {
      inside = false;
      current = nullptr;
      engine.running = false;
    }
  } leave;
  engine.run(grid, block, dynamic_bytes, body, arguments);
}

void Engine::run(dim3 grid, dim3 block, size_t bytes, void (*body)(void*), void* arguments) {
  ++counted.launches;
  if (threads.empty()) threads.resize(MAX_THREADS);
  grid_extent = grid;
  block_extent = block;
  body_ = body;
  arguments_ = arguments;
  dynamic_bytes = bytes;
  thread_count = block.x * block.y * block.z;
  scheduler.begin_launch(options.schedule, thread_count);
  race::begin_launch();
  const FaultGuard guard(host_);

  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  if (scheduler.in_order()) {
    for (uint64_t i = 0; i < blocks; ++i) run_block(i);
    return;
  }
  std::vector<uint64_t> order(blocks);
  for (uint64_t i = 0; i < blocks; ++i) {  // inside-out shuffle
    const uint32_t other = scheduler.random_below(static_cast<uint32_t>(i + 1));
    order[i] = order[other];
    order[other] = i;
  }
  for (const uint64_t i : order) run_block(i);
}

void Engine::run_block(uint64_t linear) {
  ++counted.blocks;
  const uint64_t row = linear / grid_extent.x;
  block_index = {static_cast<unsigned>(linear % grid_extent.x), static_cast<unsigned>(row % grid_extent.y),
                 static_cast<unsigned>(row / grid_extent.y)};
  running = true;
  begin_block();
  race::begin_block(linear, thread_count);
  left_host_ = true;
  switch_to(nullptr, next_to_run());
  if (FaultGuard::caught()) {
    abandon_stacks();
    FaultGuard::fail_for_caught();
  }
  current = nullptr;
  if (error_) {
    abandon_stacks();
    rethrow_error();
  }
  race::end_block();
  end_tma();
  end_shared_memory();
}

// A race is often the cause of what went wrong later, so it is told too.
void Engine::rethrow_error() {
  const std::exception_ptr error = std::exchange(error_, nullptr);
  const std::string races = race::take_report();
  if (races.empty()) std::rethrow_exception(error);
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& what) {
    throw Error(std::string(what.what()) + "; before that, a data race: " + races);
  }
}

void Engine::begin_block() {
  live = thread_count;
  begun_ = 0;
  next_index_ = {0, 0, 0};
  scheduler.begin_block();
  begin_shared_memory(dynamic_bytes);
  begin_barriers();
  begin_collectives(thread_count);
  begin_mbarriers();
  begin_tma();
  begin_wgmma();
  if (scheduler.in_order()) return;
  while (begun_ < thread_count) scheduler.push(begin_next_thread());
  scheduler.redraw(threads, thread_count);
}

Thread* Engine::begin_next_thread() {
  Thread& thread = threads[begun_];
  thread.index = next_index_;
  thread.linear = begun_;
  thread.warp = begun_ / 32;
  thread.lane = begun_ % 32;
  thread.finished = false;
  thread.has_copies = thread.has_stores = thread.has_products = false;
  thread.stack = nullptr;
  ++begun_;
  if (++next_index_.x == block_extent.x) {
    next_index_.x = 0;
    if (++next_index_.y == block_extent.y) {
      next_index_.y = 0;
      ++next_index_.z;
    }
  }
  return &thread;
}

Thread* Engine::next_to_run() {
  if (begun_ < thread_count) return begin_next_thread();
  // Loads land when nothing else can happen; under a random schedule now and then before.
  constexpr uint32_t LAND_ONE_IN = 64;
  if (!scheduler.in_order() && loads_in_flight() && scheduler.random_below(LAND_ONE_IN) == 0) land_one_load();
  while (scheduler.empty())
    if (!land_one_load()) fail_deadlock();
  return scheduler.pop();
}

void Engine::wait(const Site& site) {
  Thread& me = self();
  me.waiting = site;
  Thread* next = next_to_run();
  if (next != &me) switch_to(me.stack, next);
}

void Engine::preempt() {
  if (scheduler.in_order()) return;
  Thread& me = self();
  scheduler.push(&me);
  Thread* next = next_to_run();
  if (next != &me) switch_to(me.stack, next);
}

Thread* Engine::thread_ended(Thread& thread) {
  if (thread.has_copies) check_copies_complete(thread);
  if (thread.has_stores) check_stores_complete(thread);
  if (thread.has_products) check_products_complete(thread);
  thread.finished = true;
  lane_ended(thread);
  if (--live == 0) return nullptr;
  release_block_barrier();  // it may have waited for this thread alone
  return next_to_run();
}

// Every stack runs this for ever: one thread after the other, as long as the next has not started elsewhere.
void Engine::run_fiber() {
  for (;;) {
    Thread& thread = self();
    Thread* next = nullptr;
    try {
      body_(arguments_);
      next = thread_ended(thread);
    } catch (...) {
      error_ = std::current_exception();
      next = nullptr;
    }
    Stack* stack = std::exchange(thread.stack, nullptr);
    if (next != nullptr && next->stack == nullptr) {
      next->stack = stack;
      current = next;
      continue;
    }
    idle_.push_back(stack);
    switch_to(stack, next);
  }
}

void Engine::fiber_entry() {
  engine.arrive(nullptr);
  engine.run_fiber();
}

Stack* Engine::take_stack() {
  if (idle_.empty()) {
    stacks_.push_back(std::make_unique<Stack>());
    stacks_.back()->start_at(&fiber_entry);
    return stacks_.back().get();
  }
  Stack* stack = idle_.back();
  idle_.pop_back();
  return stack;
}

void Engine::switch_to(Stack* from, Thread* to) {
  ++counted.switches;
  current = to;
  if (to != nullptr && to->stack == nullptr) to->stack = take_stack();
  Stack* stack = to != nullptr ? to->stack : nullptr;
  start_switch(from ? &from->fake_stack : &host_fake_stack_, stack ? stack->memory : host_bottom_,
               stack ? STACK_BYTES : host_bytes_);
  switch_context(from ? from->context : host_, stack ? stack->context : host_);
  arrive(from ? from->fake_stack : host_fake_stack_);
}

// The sanitizer is told where the host's stack lies whenever a fiber is entered from there; it may be another OS
// thread's.
void Engine::arrive(void* fake_stack) {
  const void* bottom = nullptr;
  size_t bytes = 0;
  finish_switch(fake_stack, &bottom, &bytes);
  if (std::exchange(left_host_, false)) host_bottom_ = bottom, host_bytes_ = bytes;
}

// After an error threads were left half way: their stacks start anew.
void Engine::abandon_stacks() {
  idle_.clear();
  for (auto& stack : stacks_) {
    stack->start_at(&fiber_entry);
    idle_.push_back(stack.get());
  }
}

void Engine::fail_deadlock() const {
  std::vector<const Thread*> first;  // one thread of each place where threads wait
  std::string text;
  for (unsigned i = 0; i < thread_count; ++i) {
    const Thread& thread = threads[i];
    const auto waits_there = [&](const Thread* other) { return other->waiting.same_place(thread.waiting); };
    if (thread.finished || std::any_of(first.begin(), first.end(), waits_there)) continue;
    first.push_back(&thread);
    unsigned count = 0;
    for (unsigned j = i; j < thread_count; ++j) count += !threads[j].finished && waits_there(&threads[j]);
    if (!text.empty()) text += "; ";
    text += std::to_string(count) + (count == 1 ? " waits in " : " wait in ") + thread.waiting.word + " at " +
            thread.waiting.file + ":" + std::to_string(thread.waiting.line) + " (thread " + std::to_string(i) +
            (count == 1 ? ")" : " is the first)");
  }
  text += describe_awaited_mbarriers();
  current = nullptr;  // no single thread is to blame
  fail(first.front()->waiting, "deadlock, no thread of the block can run; of %u threads %u have ended; %s",
       thread_count, thread_count - live, text.c_str());
}

}  // namespace gpudl::emulator
