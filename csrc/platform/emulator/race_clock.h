// Vector clocks: what each agent knows of the others' past. One counter gives all times, so they can be compared.
#pragma once
#include <cstdint>
#include <vector>

#include "platform/emulator/race.h"

namespace gpudl::emulator::race {

class Clocks {
 public:
  void begin_wave(unsigned threads);

  unsigned agents() const { return agents_; }
  unsigned threads() const { return threads_; }
  uint32_t time(unsigned agent) const { return time_[agent]; }
  // What the agent knows of all others. Lanes of a warp share it as long as they synchronise together.
  const uint32_t* known(unsigned agent) const {
    return agent < threads_ && own_[agent].empty() ? warp_[agent / 32].data() : own_[agent].data();
  }
  bool knows(unsigned agent, unsigned other, uint32_t time) const {
    return agent == other || known(agent)[other] >= time;
  }
  uint32_t last_full_barrier() const { return last_full_barrier_; }  // all threads know each other's past up to here

  void met(const unsigned* threads, size_t count, const Knowledge& earlier);
  void release(unsigned agent, Knowledge& into);
  void acquire(unsigned agent, const std::vector<uint32_t>& from);
  void tell(unsigned from, unsigned to);

  void fence(unsigned thread) { fenced_[thread] = time_[thread], time_[thread] = ++now_; }
  uint32_t fenced(unsigned thread) const { return fenced_[thread]; }

  unsigned next_tma_agent() { return first_tma_agent() + next_tma_++ % TMA_AGENTS; }
  unsigned product_agent(unsigned warp, size_t group) const {
    return threads_ + warp * PRODUCT_AGENTS + static_cast<unsigned>(group % PRODUCT_AGENTS);
  }

 private:
  // Up to this many units of a kind are distinguished at a time; beyond that, one represents several.
  static constexpr unsigned PRODUCT_AGENTS = 4, TMA_AGENTS = 16;
  unsigned first_tma_agent() const { return threads_ + warps_ * PRODUCT_AGENTS; }
  void learn(std::vector<uint32_t>& times, unsigned agent) const;

  unsigned threads_ = 0, warps_ = 0, agents_ = 0, next_tma_ = 0;
  uint32_t now_ = 0, last_full_barrier_ = 0;
  std::vector<uint32_t> time_, fenced_;
  std::vector<std::vector<uint32_t>> warp_, own_;
  std::vector<uint32_t> joined_;
  std::vector<unsigned> lanes_met_;
};

extern Clocks clocks;

}  // namespace gpudl::emulator::race
