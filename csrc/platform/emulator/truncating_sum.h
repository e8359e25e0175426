// How tensor cores sum: the exact products and the accumulator are aligned to the largest of them, lower bits are
// dropped, and the result is truncated too. Measured by Fasi, Higham, Mikaitis, Pranesh, "Numerical behavior of NVIDIA
// tensor cores", PeerJ Computer Science 2021: the A100 keeps one bit more than float32; later GPUs keep more.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>

namespace gpudl::emulator {

constexpr int EXTRA_BITS = 1;

inline float toward_zero(double x) {
  const float nearest = static_cast<float>(x);
  return std::fabs(static_cast<double>(nearest)) > std::fabs(x) ? std::nextafter(nearest, 0.0f) : nearest;
}

// accumulator + sum of products; the products are exact in double.
inline float truncating_sum(float accumulator, const double* products, int count) {
  double largest = std::fabs(static_cast<double>(accumulator)), plain = accumulator;
  for (int i = 0; i < count; ++i) {
    largest = std::max(largest, std::fabs(products[i]));
    plain += products[i];
  }
  if (largest == 0 || !std::isfinite(plain) || !std::isfinite(largest)) return static_cast<float>(plain);
  const int lowest = std::ilogb(largest) - (std::numeric_limits<float>::digits - 1) - EXTRA_BITS;
  double sum = std::trunc(std::ldexp(static_cast<double>(accumulator), -lowest));
  for (int i = 0; i < count; ++i) sum += std::trunc(std::ldexp(products[i], -lowest));
  return toward_zero(std::ldexp(sum, lowest));
}

}  // namespace gpudl::emulator
