// Which of the ready threads runs next. The seed chooses one of three disciplines:
//   0     in order: first ready, first run. Fast and reproducible.
//   odd   uniform: any ready thread, with equal probability.
//   even  priority: every warp draws a random priority, redrawn at each barrier; the highest runs as long as it can.
//         It finds what uniform choice misses: one warp a whole phase ahead of another (a missing barrier after a
//         read).
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace gpudl::emulator {

struct Thread;

class Scheduler {
 public:
  void begin_launch(uint64_t seed, size_t threads);
  void begin_wave();  // forget the threads of the last blocks

  bool in_order() const { return discipline_ == Discipline::in_order; }
  bool empty() const { return count_ == 0; }
  void push(Thread* thread);
  Thread* pop();
  void redraw(std::vector<Thread>& threads, size_t count);  // draw new priorities
  uint32_t random();
  uint32_t random_below(uint32_t bound) { return static_cast<uint32_t>(uint64_t{random()} * bound >> 32); }

 private:
  enum class Discipline { in_order, uniform, priority };
  Discipline discipline_ = Discipline::in_order;
  uint64_t state_ = 1;
  std::vector<Thread*> ring_;  // in_order, uniform: a queue; its capacity is a power of two
  std::vector<Thread*> heap_;  // priority
  size_t head_ = 0, count_ = 0;
};

}  // namespace gpudl::emulator
