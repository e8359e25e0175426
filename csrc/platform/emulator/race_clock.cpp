#include "platform/emulator/race_clock.h"

#include <algorithm>
#include <bit>

#include "platform/emulator/collective.h"
#include "platform/emulator/engine.h"

namespace gpudl::emulator::race {

Clocks clocks;

namespace {
void join(std::vector<uint32_t>& into, const uint32_t* from) {
  for (size_t i = 0; i < into.size(); ++i) into[i] = std::max(into[i], from[i]);
}
}  // namespace

void Knowledge::join(const Knowledge& other) {
  if (times.size() < other.times.size()) times.resize(other.times.size(), 0);
  for (size_t i = 0; i < other.times.size(); ++i) times[i] = std::max(times[i], other.times[i]);
}

void Clocks::begin_wave(unsigned threads) {
  threads_ = threads;
  warps_ = (threads + 31) / 32;
  agents_ = threads_ + warps_ * PRODUCT_AGENTS + TMA_AGENTS;
  now_ = 1;
  last_full_barrier_ = 0;
  next_tma_ = 0;
  time_.assign(agents_, 1);
  fenced_.assign(threads_, 0);
  warp_.resize(warps_);
  for (auto& times : warp_) times.assign(agents_, 0);
  own_.resize(agents_);
  for (unsigned agent = 0; agent < agents_; ++agent)
    agent < threads_ ? own_[agent].clear() : own_[agent].assign(agents_, 0);
}

// times = times joined with the agent's knowledge and its own time.
void Clocks::learn(std::vector<uint32_t>& times, unsigned agent) const {
  join(times, known(agent));
  times[agent] = std::max(times[agent], time_[agent]);
}

void Clocks::met(const unsigned* threads, size_t count, const Knowledge& earlier) {
  joined_ = earlier.times;
  joined_.resize(agents_, 0);
  lanes_met_.assign(warps_, 0);
  unsigned last_shared = ~0u;
  for (size_t i = 0; i < count; ++i) {
    const unsigned thread = threads[i];
    ++lanes_met_[thread / 32];
    joined_[thread] = std::max(joined_[thread], time_[thread]);
    if (!own_[thread].empty()) {
      join(joined_, own_[thread].data());
    } else if (thread / 32 != last_shared) {  // join knowledge that lanes share only once
      last_shared = thread / 32;
      join(joined_, warp_[last_shared].data());
    }
  }
  if (count == engine.live && engine.blocks.size() == 1) last_full_barrier_ = now_;
  ++now_;
  for (size_t i = 0; i < count; ++i) {
    const unsigned thread = threads[i], warp = thread / 32;
    time_[thread] = now_;
    if (lanes_met_[warp] == 0) continue;  // handled with its first lane
    if (lanes_met_[warp] == static_cast<unsigned>(std::popcount(live_lanes(warp)))) {
      warp_[warp] = joined_;
      for (unsigned lane = warp * 32; lane < std::min(threads_, warp * 32 + 32); ++lane) own_[lane].clear();
      lanes_met_[warp] = 0;
    } else {
      own_[thread] = joined_;
    }
  }
}

void Clocks::release(unsigned agent, Knowledge& into) {
  into.times.resize(agents_, 0);
  learn(into.times, agent);
  time_[agent] = ++now_;
}

void Clocks::acquire(unsigned agent, const std::vector<uint32_t>& from) {
  if (from.empty()) return;
  if (own_[agent].empty()) own_[agent] = warp_[agent / 32];
  join(own_[agent], from.data());
}

void Clocks::tell(unsigned from, unsigned to) {
  if (own_[to].empty()) own_[to] = warp_[to / 32];
  learn(own_[to], from);
  time_[from] = ++now_;
}

}  // namespace gpudl::emulator::race
