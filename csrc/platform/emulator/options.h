// How the emulator runs kernels, and its statistics.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gpudl::emulator {

// 0: in order; odd: uniformly random; even: random priorities (see scheduler.h). Environment: GPUDL_SCHEDULE.
void set_schedule(uint64_t seed);

// Whether asynchronous copies land as late as allowed (the default, which exposes missing waits) or at once.
// Environment: GPUDL_LAZY=0 or 1.
void set_lazy(bool lazy);

// Shared memory per block, in bytes: 232448 (227 KiB, sm_90) by default. Static arrays are always limited to 48 KiB.
// Environment: GPUDL_SHARED_LIMIT.
void set_shared_limit(size_t bytes);

// Most blocks of a cooperative launch: 4 by default. Environment: GPUDL_RESIDENT_BLOCKS.
void set_resident_blocks(int blocks);

// Whether mma sums like tensor cores, with truncation (see truncating_sum.h), or like a float32 loop, which is faster.
// Environment: GPUDL_TRUNCATION=0 or 1.
void set_truncation(bool truncation);

struct Statistics {
  uint64_t launches = 0;
  uint64_t blocks = 0;
  uint64_t switches = 0;     // between fibers
  uint64_t collectives = 0;  // warp operations, counted once per warp
  uint64_t copies = 0;       // asynchronous ones
};
Statistics statistics();
void reset_statistics();

struct Options {
  uint64_t schedule = 0;
  bool lazy = true;
  size_t shared_limit = 227 * 1024;
  int resident_blocks = 4;
  bool truncation = false;
};
extern Options options;
extern Statistics counted;

}  // namespace gpudl::emulator
