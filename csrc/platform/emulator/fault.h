// A kernel that touches memory it does not have, or divides an integer by zero, would end the whole process. While a
// kernel runs, such signals become an Error instead. (Not under AddressSanitizer, which tells more about them.)
#pragma once
#include <csignal>
#include <string>

#include "platform/emulator/context.h"

namespace gpudl::emulator {

// From construction to destruction, a fault of the running kernel ends it: `host` goes on as if a fiber had switched to
// it.
class FaultGuard {
 public:
  explicit FaultGuard(Context& host);
  ~FaultGuard();
  FaultGuard(const FaultGuard&) = delete;
  FaultGuard& operator=(const FaultGuard&) = delete;

  static bool caught();
  [[noreturn]] static void fail_for_caught();  // and forget it

 private:
  struct sigaction previous_[3];
  stack_t previous_stack_;
};

}  // namespace gpudl::emulator
