// threadIdx, blockIdx, blockDim, gridDim.
#pragma once
#include "platform/emulator/words.h"

namespace gpudl::emulator {

struct ThreadIndex {
  dim3 index, block;
  char* shared = nullptr;  // start of its block's shared memory
};

// Plain variables, not thread_local: the engine runs one launch at a time, and a fiber could keep a stale TLS address.
extern ThreadIndex* current;  // the running thread; null while no kernel runs
extern dim3 block_extent, grid_extent;

}  // namespace gpudl::emulator

#define threadIdx (static_cast<const dim3&>(::gpudl::emulator::current->index))
#define blockIdx (static_cast<const dim3&>(::gpudl::emulator::current->block))
#define blockDim (static_cast<const dim3&>(::gpudl::emulator::block_extent))
#define gridDim (static_cast<const dim3&>(::gpudl::emulator::grid_extent))
