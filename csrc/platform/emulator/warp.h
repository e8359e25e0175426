// Warp operations: __syncwarp, shuffles, votes.
#pragma once
#include <cstdint>
#include <type_traits>

#include "platform/emulator/collective.h"

namespace gpudl::emulator {

void warp_barrier(uint32_t mask, const Site& site);
uint32_t vote(uint32_t mask, bool predicate, const Site& site);  // the lanes whose predicate is true
uint32_t active_lanes();
[[noreturn]] void fail_shuffle(const Site& site, int lane, int source, uint32_t mask);

// A lane's argument to a shuffle, and its result.
template <class T>
struct Shuffle {
  T value, result;
  int amount, width;
  Site site;
};

// Source finds the lane to read from; -1 outside the segment, where a lane keeps its own value, as on a GPU.
template <class T, class Source>
T shuffle(uint32_t mask, T value, int amount, int width, Source, const Site& site) {
  static_assert(std::is_arithmetic_v<T> && (sizeof(T) == 4 || sizeof(T) == 8), "shuffles move 32 or 64 bits");
  if (width <= 0 || width > 32 || (width & (width - 1)) != 0)
    fail(site, "width is %d; it must be a power of two up to 32", width);
  Shuffle<T> mine{value, value, amount, width, site};
  const auto exchange = [](Shuffle<T>* const* lanes, uint32_t mask) {
    for (int lane = 0; lane < 32; ++lane) {
      if (!(mask >> lane & 1)) continue;
      const int source = Source{}(lane, lanes[lane]->amount, lanes[lane]->width);
      if (source < 0) continue;
      if (!(mask >> source & 1)) fail_shuffle(lanes[lane]->site, lane, source, mask);
      lanes[lane]->result = lanes[source]->value;
    }
  };
  warp_collective(mask, mine, exchange, site);
  return mine.result;
}

}  // namespace gpudl::emulator

template <class T>
inline T __shfl_sync(unsigned mask, T value, int source, int width = 32,
                     ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("__shfl_sync")) {
  const auto pick = [](int lane, int source, int width) { return (lane & ~(width - 1)) | (source & (width - 1)); };
  return ::gpudl::emulator::shuffle(mask, value, source, width, pick, site);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                         ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("__shfl_xor_sync")) {
  const auto pick = [](int lane, int amount, int width) {
    const int source = (lane ^ amount) & 31;
    return source <= (lane | (width - 1)) ? source : -1;
  };
  return ::gpudl::emulator::shuffle(mask, value, lane_mask, width, pick, site);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                          ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("__shfl_down_sync")) {
  const auto pick = [](int lane, int delta, int width) {
    return lane + delta <= (lane | (width - 1)) ? lane + delta : -1;
  };
  return ::gpudl::emulator::shuffle(mask, value, static_cast<int>(delta & 31), width, pick, site);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                        ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("__shfl_up_sync")) {
  const auto pick = [](int lane, int delta, int width) {
    return lane - delta >= (lane & ~(width - 1)) ? lane - delta : -1;
  };
  return ::gpudl::emulator::shuffle(mask, value, static_cast<int>(delta & 31), width, pick, site);
}

inline void __syncwarp(unsigned mask = ~0u,
                       ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("__syncwarp")) {
  ::gpudl::emulator::warp_barrier(mask, site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate,
                              ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("__ballot_sync")) {
  return ::gpudl::emulator::vote(mask, predicate != 0, site);
}
inline int __any_sync(unsigned mask, int predicate,
                      ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("__any_sync")) {
  return ::gpudl::emulator::vote(mask, predicate != 0, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("__all_sync")) {
  return ::gpudl::emulator::vote(mask, predicate != 0, site) == mask;
}
// The lanes that have not ended. A GPU may return any subset that runs together with the caller.
inline unsigned __activemask() { return ::gpudl::emulator::active_lanes(); }
