#include "platform/emulator/fault.h"

#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "platform/emulator/engine.h"
#include "platform/emulator/sanitizer.h"
#include "platform/emulator/symbol.h"

namespace gpudl::emulator {

#if defined(__SANITIZE_ADDRESS__)

namespace {
// The last words of a process that a sanitizer ends: which thread of the kernel it was.
void name_thread() {
  if (current == nullptr) return;
  const dim3 &thread = current->index, &block = current->block;
  fprintf(stderr, "gpudl: this was block (%u,%u,%u), thread (%u,%u,%u) of the running kernel\n", block.x, block.y,
          block.z, thread.x, thread.y, thread.z);
}
}  // namespace

FaultGuard::FaultGuard(Context&) { __sanitizer_set_death_callback(name_thread); }
FaultGuard::~FaultGuard() {}
bool FaultGuard::caught() { return false; }
void FaultGuard::fail_for_caught() { std::abort(); }

#else

namespace {

constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGFPE};
constexpr size_t HANDLER_STACK_BYTES = 64 * 1024;
alignas(16) char handler_stack[HANDLER_STACK_BYTES];

thread_local bool guarded = false;  // this host thread runs the engine
Context* host_context = nullptr;

struct Fault {
  int signal = 0;  // 0: none
  const void* address = nullptr;
  const void* program_counter = nullptr;
};
Fault fault;

const void* program_counter_of(const void* context) {
  const auto& registers = static_cast<const ucontext_t*>(context)->uc_mcontext;
#if defined(__x86_64__)
  return reinterpret_cast<const void*>(registers.gregs[REG_RIP]);
#elif defined(__aarch64__)
  return reinterpret_cast<const void*>(registers.pc);
#else
  (void)registers;
  return nullptr;
#endif
}

// Runs on its own stack, notes what happened and leaves for the host's context. What it abandons is the kernel's
// business alone; the message is made there, where it is safe to allocate.
void handle(int signal, siginfo_t* info, void* context) {
  if (!guarded || current == nullptr) {  // not a kernel's: as if this handler were not there
    ::signal(signal, SIG_DFL);
    return;
  }
  fault = {signal, info->si_addr, program_counter_of(context)};
  static Context abandoned;
  switch_context(abandoned, *host_context);
}

}  // namespace

FaultGuard::FaultGuard(Context& host) {
  host_context = &host;
  guarded = true;
  stack_t stack{};
  stack.ss_sp = handler_stack;
  stack.ss_size = sizeof handler_stack;
  sigaltstack(&stack, &previous_stack_);
  struct sigaction action{};
  action.sa_sigaction = handle;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < std::size(SIGNALS); ++i) sigaction(SIGNALS[i], &action, &previous_[i]);
}

FaultGuard::~FaultGuard() {
  for (size_t i = 0; i < std::size(SIGNALS); ++i) sigaction(SIGNALS[i], &previous_[i], nullptr);
  sigaltstack(&previous_stack_, nullptr);
  guarded = false;
}

bool FaultGuard::caught() { return fault.signal != 0; }

void FaultGuard::fail_for_caught() {
  const Fault caught = std::exchange(fault, {});
  const std::string place = source_line(static_cast<const char*>(caught.program_counter) + 1);
  const Site site{place.c_str(), 0, place.c_str()};  // the place is all text, line included
  if (caught.signal == SIGFPE) fail(site, "an integer division by zero, or one that overflows");
  if (on_a_stack(caught.address))
    fail(site, "the thread's stack overflowed; here a thread has %zu KiB", STACK_BYTES / 1024);
  if (caught.address == nullptr)
    fail(site, "a null pointer was followed, or a vector was read or written at a misaligned address");
  fail(site, "the kernel touched %p, where no memory of this process is", caught.address);
}

#endif

}  // namespace gpudl::emulator
