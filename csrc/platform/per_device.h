// A number that depends on the device and costs a call of the driver: it is cached for each device.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>

#include "platform/control.h"

namespace gpudl {

class PerDevice {
 public:
  // find() for the current device, which must be at least 1. Thread-safe.
  template <class F>
  int get(F find) {
    const auto device = static_cast<size_t>(current_device());
    if (device >= found.size()) return std::max(1, find());
    int number = found[device].load(std::memory_order_relaxed);
    if (number == 0) {
      number = std::max(1, find());
      found[device].store(number, std::memory_order_relaxed);
    }
    return number;
  }

 private:
  std::array<std::atomic<int>, 64> found{};  // 0: not found yet
};

}  // namespace gpudl
