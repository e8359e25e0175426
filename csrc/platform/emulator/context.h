// Stacks and switching between them: about 5 ns on x86-64, where the switch is hand-written; elsewhere (or with
// GPUDL_PORTABLE_CONTEXT) by setjmp and longjmp, about 12 ns. swapcontext alone would take 190 ns.
#pragma once
#include <cstddef>

#if !defined(__x86_64__) && !defined(GPUDL_PORTABLE_CONTEXT)
#define GPUDL_PORTABLE_CONTEXT 1
#endif

#if defined(GPUDL_PORTABLE_CONTEXT)
#include <setjmp.h>
#include <ucontext.h>
#endif

namespace gpudl::emulator {

#if defined(__SANITIZE_ADDRESS__)
constexpr size_t STACK_BYTES = 512 * 1024;  // redzones make frames several times larger
#else
constexpr size_t STACK_BYTES = 128 * 1024;
#endif

struct Context {
#if defined(GPUDL_PORTABLE_CONTEXT)
  jmp_buf registers;
  ucontext_t entry;
  bool entered = true;
#else
  void* stack_pointer = nullptr;
#endif
};

// A stack with the context that runs on it. The memory below it is inaccessible, so an overflow faults. Stacks are
// never freed: there are at most as many as resident threads.
struct Stack {
  Stack();
  Stack(const Stack&) = delete;
  Stack& operator=(const Stack&) = delete;

  void start_at(void (*entry)());  // the next switch to this stack calls entry, which must not return

  Context context;
  char* memory = nullptr;
  void* fake_stack = nullptr;  // AddressSanitizer's own bookkeeping of this stack
};

// All stacks lie in one region: two comparisons recognise memory private to a thread.
constexpr size_t MAX_STACKS = 8192;
extern const char* stacks_begin;
extern const char* stacks_end;
inline bool on_a_stack(const void* pointer) { return pointer >= stacks_begin && pointer < stacks_end; }

// Save the running context in `from` and continue in `to`. Both functions return when something switches back.
void switch_context(Context& from, Context& to);

}  // namespace gpudl::emulator
