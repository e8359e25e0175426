// Number types missing from C++20, as plain bits: for host and device, in both builds.
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
