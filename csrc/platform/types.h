// Number types that C++20 lacks, as plain bits: usable on host and device, in both builds.
#pragma once
#include <cstdint>

namespace gpudl {

struct bfloat16 {
  uint16_t bits;
};

struct float16 {
  uint16_t bits;
};

}  // namespace gpudl
