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
// When a sanitizer ends the process, print which thread of the kernel was running.
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

// Runs on its own stack, records the fault and switches to the host's context, where it is safe to allocate the
// message. It abandons only the state of the kernel.
void handle(int signal, siginfo_t* info, void* context) {
  if (!guarded || current == nullptr) {  // not a kernel's fault: behave as without this handler
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
  const Site site{place.c_str(), 0, place.c_str()};  // the text includes the line
  if (caught.signal == SIGFPE) fail(site, "integer division by zero or with overflow");
  if (on_a_stack(caught.address))
    fail(site, "the thread's stack overflowed; an emulated thread has %zu KiB", STACK_BYTES / 1024);
  if (caught.address == nullptr)
    fail(site, "a null pointer was dereferenced, or a vector was accessed at a misaligned address");
  fail(site, "the kernel accessed %p, which is not memory of this process", caught.address);
}

#endif

}  // namespace gpudl::emulator
