// Barriers of a block: __syncthreads and its voting forms, and the named barriers of PTX (bar.sync, bar.arrive).
#pragma once
#include "platform/emulator/error.h"

namespace gpudl::emulator {

struct Block;

void block_barrier(const Site& site);
// A barrier of all threads of the block; each gets the number of threads whose predicate is true.
unsigned block_count(bool predicate, const Site& site);
void named_barrier(unsigned id, unsigned threads, bool wait, const Site& site);

void begin_barriers();                           // for new blocks
void release_block_barrier(const Block& block);  // if all its threads have arrived

}  // namespace gpudl::emulator

inline void __syncthreads(::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("__syncthreads")) {
  ::gpudl::emulator::block_barrier(site);
}
inline int __syncthreads_count(int predicate,
                               ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("__syncthreads_count")) {
  return static_cast<int>(::gpudl::emulator::block_count(predicate != 0, site));
}
inline int __syncthreads_or(int predicate,
                            ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("__syncthreads_or")) {
  return ::gpudl::emulator::block_count(predicate != 0, site) != 0;
}
inline int __syncthreads_and(int predicate,
                             ::gpudl::emulator::Site site = ::gpudl::emulator::Site::here("__syncthreads_and")) {
  return ::gpudl::emulator::block_count(predicate == 0, site) == 0;
}

namespace gpudl::device {

using emulator::Site;

// Named barrier id (1 to 15): wait until `threads` threads in all (whole warps) have arrived. arrive does not wait.
inline void named_barrier_sync(int id, int threads, Site site = Site::here("named_barrier_sync")) {
  emulator::named_barrier(static_cast<unsigned>(id), static_cast<unsigned>(threads), true, site);
}
inline void named_barrier_arrive(int id, int threads, Site site = Site::here("named_barrier_arrive")) {
  emulator::named_barrier(static_cast<unsigned>(id), static_cast<unsigned>(threads), false, site);
}

}  // namespace gpudl::device
