// How the emulator runs kernels, and what it counted.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gpudl::emulator {

// 0: in order; odd: uniformly random; even: random priorities (see scheduler.h). Environment: GPUDL_SCHEDULE.
void set_schedule(uint64_t seed);

// Whether asynchronous copies land as late as they may (the default, which exposes missing waits) or at once.
// Environment: GPUDL_LAZY=0 or 1.
void set_lazy(bool lazy);

// Bytes of shared memory that a block may take in all: 232448 (227 KiB, sm_90) unless set. A static array alone is held
// to 48 KiB everywhere. Environment: GPUDL_SHARED_LIMIT.
void set_shared_limit(size_t bytes);

// Blocks that a cooperative launch may have at most: 4 unless set. Environment: GPUDL_RESIDENT_BLOCKS.
void set_resident_blocks(int blocks);

// Whether mma adds up as tensor cores do, with truncation (see truncating_sum.h), or as a loop of float32, which is
// quicker. Environment: GPUDL_TRUNCATION=0 or 1.
void set_truncation(bool truncation);

struct Statistics {
  uint64_t launches = 0;
  uint64_t blocks = 0;
  uint64_t switches = 0;     // from one fiber to another
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
