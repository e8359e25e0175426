#include "platform/emulator/engine.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "platform/emulator/barrier.h"
#include "platform/emulator/cluster.h"
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
dim3 block_extent, grid_extent;

namespace {

uint64_t count_of(dim3 extent) { return uint64_t{extent.x} * extent.y * extent.z; }

void check_shape(const LaunchShape& shape) {
  const Site site = Site::here(shape.cooperative ? "launch_cooperative" : "launch", "", 0);
  const dim3 grid = shape.grid, block = shape.block, resident = shape.resident;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535)
    fail(site, "a grid of (%u,%u,%u) blocks; it must be from (1,1,1) to (2147483647,65535,65535)", grid.x, grid.y,
         grid.z);
  const uint64_t threads = count_of(block);
  if (threads == 0 || threads > MAX_THREADS || block.z > 64)
    fail(site, "a block of (%u,%u,%u) threads; it must have 1 to 1024 in all, at most 64 along z", block.x, block.y,
         block.z);
  const int room = resident_blocks(static_cast<int>(threads), shape.shared_bytes);
  if (grid.x % resident.x != 0 || grid.y % resident.y != 0 || grid.z % resident.z != 0)
    fail(site, "a grid of (%u,%u,%u) blocks cannot be divided into clusters of (%u,%u,%u)", grid.x, grid.y, grid.z,
         resident.x, resident.y, resident.z);
  if (!shape.cooperative && count_of(resident) > 8)
    fail(site, "a cluster of %llu blocks; it may have at most 8", static_cast<unsigned long long>(count_of(resident)));
  if (shape.cooperative && count_of(resident) > static_cast<uint64_t>(room))
    fail(site, "%llu blocks must be resident at once, but the device holds only %d (device::resident_blocks)",
         static_cast<unsigned long long>(count_of(resident)), room);
}

}  // namespace

int resident_blocks(int threads, size_t shared_bytes) {
  if (shared_bytes > options.shared_limit) return 0;
  const int warps = (threads + 31) / 32;
  return std::min({options.resident_blocks, static_cast<int>(MAX_RESIDENT_THREADS) / std::max(1, warps * 32),
                   static_cast<int>(MAX_RESIDENT_BLOCKS)});
}

void run(const LaunchShape& shape, void (*body)(void*), void* arguments) {
  static std::mutex one_at_a_time;
  static thread_local bool inside = false;
  if (inside) fail(Site::here("launch", "", 0), "a kernel launched a kernel");
  const std::lock_guard lock(one_at_a_time);
  check_shape(shape);
  inside = true;
  struct Leave {
    ~Leave() {
      inside = false;
      current = nullptr;
      engine.running = false;
    }
  } leave;
  engine.run(shape, body, arguments);
}

void Engine::run(const LaunchShape& launched, void (*body)(void*), void* arguments) {
  ++counted.launches;
  shape = launched;
  grid_extent = shape.grid;
  block_extent = shape.block;
  body_ = body;
  arguments_ = arguments;
  thread_count = static_cast<unsigned>(count_of(shape.block));
  blocks.resize(count_of(shape.resident));
  slots = static_cast<unsigned>(blocks.size()) * ((thread_count + 31) / 32 * 32);
  if (threads.size() < slots) threads.resize(std::max(slots, MAX_THREADS));
  scheduler.begin_launch(options.schedule, slots);
  race::begin_launch();
  const FaultGuard guard(host_);

  const uint64_t waves = count_of(shape.grid) / blocks.size();
  if (scheduler.in_order()) {
    for (uint64_t i = 0; i < waves; ++i) run_wave(i);
    return;
  }
  std::vector<uint64_t> order(waves);
  for (uint64_t i = 0; i < waves; ++i) {  // inside-out shuffle
    const uint32_t other = scheduler.random_below(static_cast<uint32_t>(i + 1));
    order[i] = order[other];
    order[other] = i;
  }
  for (const uint64_t i : order) run_wave(i);
}

// Blocks that are resident together form a box of shape.resident blocks; such boxes tile the grid.
dim3 Engine::block_index(uint64_t wave, unsigned number) const {
  const dim3 box = shape.resident;
  const unsigned across = shape.grid.x / box.x, down = shape.grid.y / box.y;
  return {static_cast<unsigned>(wave % across) * box.x + number % box.x,
          static_cast<unsigned>(wave / across % down) * box.y + number / box.x % box.y,
          static_cast<unsigned>(wave / across / down) * box.z + number / box.x / box.y};
}

uint64_t Engine::linear_block(uint64_t wave, unsigned number) const {
  const dim3 index = block_index(wave, number);
  return (uint64_t{index.z} * shape.grid.y + index.y) * shape.grid.x + index.x;
}

void Engine::run_wave(uint64_t wave) {
  counted.blocks += blocks.size();
  begin_wave(wave);
  race::begin_wave(wave, slots);
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
  race::end_wave();
  end_tma();
  end_shared_memory();
}

// A race is often the cause of a later error, so report it too.
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

void Engine::begin_wave(uint64_t wave) {
  wave_ = wave;
  for (unsigned i = 0; i < blocks.size(); ++i) blocks[i] = {block_index(wave, i), i, thread_count};
  running = true;
  live = thread_count * static_cast<unsigned>(blocks.size());
  begun_ = 0;
  next_index_ = {0, 0, 0};
  pollers_.clear();
  futile_rounds_ = 0;
  scheduler.begin_wave();
  begin_shared_memory(shape.shared_bytes);
  begin_barriers();
  begin_cluster();
  begin_collectives();
  begin_mbarriers();
  begin_tma();
  begin_wgmma();
  if (scheduler.in_order()) return;
  for (unsigned i = 0; i < live; ++i) scheduler.push(begin_next_thread());
  scheduler.redraw(threads, slots);
}

Thread* Engine::begin_next_thread() {
  const unsigned number = begun_ / thread_count, linear = begun_ % thread_count;
  const unsigned slot = number * ((thread_count + 31) / 32 * 32) + linear;
  Thread& thread = threads[slot];
  thread.index = next_index_;
  thread.block = blocks[number].index;
  thread.shared = shared_memory_of(number);
  thread.home = &blocks[number];
  thread.linear = linear;
  thread.warp = linear / 32;
  thread.lane = linear % 32;
  thread.slot = slot;
  thread.finished = false;
  thread.has_copies = thread.has_stores = thread.has_products = false;
  thread.polled = nullptr;
  thread.stack = nullptr;
  ++begun_;
  if (++next_index_.x == block_extent.x) {
    next_index_.x = 0;
    if (++next_index_.y == block_extent.y) {
      next_index_.y = 0;
      if (++next_index_.z == block_extent.z) next_index_.z = 0;
    }
  }
  return &thread;
}

Thread* Engine::next_to_run() {
  if (begun_ < thread_count * blocks.size()) return begin_next_thread();
  // Loads land when nothing else can run; under a random schedule sometimes earlier.
  constexpr uint32_t LAND_ONE_IN = 64;
  if (!scheduler.in_order() && loads_in_flight() && scheduler.random_below(LAND_ONE_IN) == 0) land_one_load();
  while (scheduler.empty())
    if (!land_one_load() && !wake_pollers()) fail_deadlock();
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
  --thread.home->live;
  futile_rounds_ = 0;
  if (--live == 0) return nullptr;
  release_block_barrier(*thread.home);  // its threads may have waited only for this one
  release_cluster_barrier();
  return next_to_run();
}

// Every stack runs this forever: one thread after another, unless the next one has already started elsewhere.
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

// Whenever a fiber is entered from the host, tell the sanitizer where the host's stack is; it may belong to another OS
// thread.
void Engine::arrive(void* fake_stack) {
  const void* bottom = nullptr;
  size_t bytes = 0;
  finish_switch(fake_stack, &bottom, &bytes);
  if (std::exchange(left_host_, false)) host_bottom_ = bottom, host_bytes_ = bytes;
}

// After an error, threads were left unfinished: their stacks start afresh.
void Engine::abandon_stacks() {
  idle_.clear();
  for (auto& stack : stacks_) {
    stack->start_at(&fiber_entry);
    idle_.push_back(stack.get());
  }
}

}  // namespace gpudl::emulator
