// Division of 0 <= n < 2^31 by a number known on the host, by a multiplication and a shift.
// Source: Granlund and Montgomery, "Division by Invariant Integers using Multiplication", PLDI 1994, figure 4.1.
#pragma once
#include <bit>
#include <cstdint>

#include "platform/device.h"

namespace gpudl::prim {

struct Divisor {
  unsigned divisor = 1, multiplier = 1, shift = 0;

  Divisor() = default;
  // 0 counts as 1, for empty arrays.
  explicit Divisor(int d) : divisor(d > 0 ? d : 1), shift(std::bit_width(divisor - 1)) {
    multiplier = static_cast<unsigned>((((uint64_t{1} << shift) - divisor) << 32) / divisor + 1);
  }
  // Replaces n by the quotient and returns the remainder.
  GPUDL_DEVICE int split(int& n) const {
    const unsigned all = n, quotient = (__umulhi(all, multiplier) + all) >> shift;
    n = static_cast<int>(quotient);
    return static_cast<int>(all - quotient * divisor);
  }
};

}  // namespace gpudl::prim
