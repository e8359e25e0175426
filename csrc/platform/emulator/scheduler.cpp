#include "platform/emulator/scheduler.h"

#include <algorithm>
#include <bit>

#include "platform/emulator/engine.h"

namespace gpudl::emulator {

namespace {
bool lower_priority(const Thread* a, const Thread* b) { return a->priority < b->priority; }
}  // namespace

void Scheduler::begin_launch(uint64_t seed, size_t threads) {
  discipline_ = seed == 0 ? Discipline::in_order : seed % 2 == 1 ? Discipline::uniform : Discipline::priority;
  state_ = (0x9e3779b97f4a7c15ull * (seed + 1)) | 1;
  if (ring_.size() < threads) ring_.resize(std::bit_ceil(threads));
  begin_wave();
}

void Scheduler::begin_wave() {
  head_ = count_ = 0;
  heap_.clear();
}

uint32_t Scheduler::random() {  // xorshift64: only the order of threads depends on its quality
  state_ ^= state_ << 13;
  state_ ^= state_ >> 7;
  state_ ^= state_ << 17;
  return static_cast<uint32_t>(state_ >> 16);
}

void Scheduler::push(Thread* thread) {
  if (discipline_ == Discipline::priority) {
    heap_.push_back(thread);
    std::push_heap(heap_.begin(), heap_.end(), lower_priority);
  } else {
    ring_[(head_ + count_) & (ring_.size() - 1)] = thread;
  }
  ++count_;
}

Thread* Scheduler::pop() {
  --count_;
  if (discipline_ == Discipline::priority) {
    std::pop_heap(heap_.begin(), heap_.end(), lower_priority);
    Thread* thread = heap_.back();
    heap_.pop_back();
    return thread;
  }
  if (discipline_ == Discipline::uniform) {
    const size_t chosen = head_ + random_below(static_cast<uint32_t>(count_ + 1));
    std::swap(ring_[head_], ring_[chosen & (ring_.size() - 1)]);
  }
  Thread* thread = ring_[head_];
  head_ = (head_ + 1) & (ring_.size() - 1);
  return thread;
}

void Scheduler::redraw(std::vector<Thread>& threads, size_t count) {
  if (discipline_ != Discipline::priority) return;
  constexpr uint32_t LANE_BITS = 10;  // lanes differ too, but a warp mostly runs together
  uint32_t warp_priority = 0;
  for (size_t i = 0; i < count; ++i) {
    if (i % 32 == 0) warp_priority = random() << LANE_BITS;
    threads[i].priority = warp_priority | (random() & ((1u << LANE_BITS) - 1));
  }
  std::make_heap(heap_.begin(), heap_.end(), lower_priority);
}

}  // namespace gpudl::emulator
