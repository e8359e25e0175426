// A number that differs from one device to the next and costs a question to the driver: found out once for each.
#pragma once
#include <algorithm>
#include <array>
#include <atomic>

#include "platform/control.h"

namespace gpudl {

class PerDevice {
 public:
  // What find() tells of the device in use, at least 1. Any host thread may ask.
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
  std::array<std::atomic<int>, 64> found{};  // 0: not asked yet
};

}  // namespace gpudl
