// This file uses longjmp between stacks, which glibc's fortified version treats as an error.
#undef _FORTIFY_SOURCE
#include "platform/emulator/context.h"

#include <sys/mman.h>

#include <new>

#include "platform/emulator/sanitizer.h"

namespace gpudl::emulator {

const char* stacks_begin = nullptr;
const char* stacks_end = nullptr;

namespace {

constexpr size_t STACK_GUARD_BYTES = 64 * 1024;  // at least one page, even if pages are 64 KiB
// Stacks a power of two apart would compete for the same cache lines, so each starts a little higher than the last.
constexpr size_t SHIFT_BYTES = 9 * 64, SHIFTS = 64;
constexpr size_t SLOT_BYTES = STACK_GUARD_BYTES + STACK_BYTES + 64 * 1024;
static_assert(SHIFT_BYTES * SHIFTS <= 64 * 1024);
size_t stacks_made = 0;

char* next_slot() {
  if (stacks_begin == nullptr) {
    void* region =
        mmap(nullptr, MAX_STACKS * SLOT_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) throw std::bad_alloc();
    stacks_begin = static_cast<const char*>(region);
    stacks_end = stacks_begin + MAX_STACKS * SLOT_BYTES;
  }
  if (stacks_made == MAX_STACKS) throw std::bad_alloc();
  char* usable = const_cast<char*>(stacks_begin) + stacks_made * SLOT_BYTES + STACK_GUARD_BYTES;
  if (mprotect(usable, SLOT_BYTES - STACK_GUARD_BYTES, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
  return usable + stacks_made++ % SHIFTS * SHIFT_BYTES;
}

}  // namespace

Stack::Stack() : memory(next_slot()) {}

#if defined(GPUDL_PORTABLE_CONTEXT)

void Stack::start_at(void (*entry)()) {
  unpoison(memory, STACK_BYTES);
  fake_stack = nullptr;
  getcontext(&context.entry);
  context.entry.uc_stack.ss_sp = memory;
  context.entry.uc_stack.ss_size = STACK_BYTES;
  context.entry.uc_link = nullptr;
  makecontext(&context.entry, entry, 0);
  context.entered = false;
}

__attribute__((noinline)) void switch_context(Context& from, Context& to) {
  if (_setjmp(from.registers) != 0) return;
  if (!to.entered) {
    to.entered = true;
    setcontext(&to.entry);
  }
  _longjmp(to.registers, 1);
}

#else

// Save the callee-saved registers, swap the stack pointers, restore. endbr64 marks a target of indirect jumps.
asm(R"(
.text
.globl gpudl_emulator_switch
.hidden gpudl_emulator_switch
.type gpudl_emulator_switch,@function
gpudl_emulator_switch:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gpudl_emulator_switch,.-gpudl_emulator_switch
)");
extern "C" void gpudl_emulator_switch(void** save, void* resume);

void Stack::start_at(void (*entry)()) {
  unpoison(memory, STACK_BYTES);
  fake_stack = nullptr;
  void** top = reinterpret_cast<void**>(memory + STACK_BYTES);
  *--top = nullptr;  // entry's return address: it never returns, and the stack stays aligned as after a call
  *--top = reinterpret_cast<void*>(entry);
  for (int saved_register = 0; saved_register < 6; ++saved_register) *--top = nullptr;
  context.stack_pointer = top;
}

void switch_context(Context& from, Context& to) { gpudl_emulator_switch(&from.stack_pointer, to.stack_pointer); }

#endif

}  // namespace gpudl::emulator
