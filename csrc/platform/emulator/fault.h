// A kernel that accesses unmapped memory or divides an integer by zero would end the whole process. While a kernel
// runs, such signals become an Error instead (except under AddressSanitizer, which reports more).
#pragma once
#include <csignal>
#include <string>

#include "platform/emulator/context.h"

namespace gpudl::emulator {

// From construction to destruction, a fault of the running kernel ends it: `host` continues as if a fiber had switched
// to it.
class FaultGuard {
 public:
  explicit FaultGuard(Context& host);
  ~FaultGuard();
  FaultGuard(const FaultGuard&) = delete;
  FaultGuard& operator=(const FaultGuard&) = delete;

  static bool caught();
  [[noreturn]] static void fail_for_caught();  // and clear it

 private:
  struct sigaction previous_[3];
  stack_t previous_stack_;
};

}  // namespace gpudl::emulator
