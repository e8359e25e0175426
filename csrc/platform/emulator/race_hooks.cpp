// The functions that gcc's -fsanitize=thread makes instrumented code call. They replace libtsan, which is not linked,
// and use the emulator's notion of a thread.
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "platform/emulator/engine.h"
#include "platform/emulator/race.h"
#include "platform/emulator/race_shadow.h"

using namespace gpudl::emulator;
using namespace gpudl::emulator::race;

namespace {

// Only threads of a kernel count, and only memory that others can access.
inline void seen(const void* address, size_t bytes, Kind kind, const void* caller) {
  if (current == nullptr || on_a_stack(address)) return;
  shadow_access(engine.self().slot, address, bytes, kind, Place::of_code(caller));
}

template <class T>
T seen_atomic(const volatile T* address, const void* caller) {
  seen(const_cast<const T*>(address), sizeof(T), Kind::atomic, caller);
  return *address;
}

}  // namespace

#define HOOK extern "C" __attribute__((visibility("hidden"), used))
#define CALLER __builtin_return_address(0)

HOOK void __tsan_init() { enabled = true; }
HOOK void __tsan_func_entry(void*) {}
HOOK void __tsan_func_exit() {}
HOOK void __tsan_vptr_read(void**) {}
HOOK void __tsan_vptr_update(void**, void*) {}

#define ACCESS_HOOKS(bytes)                                                                 \
  HOOK void __tsan_read##bytes(void* p) { seen(p, bytes, Kind::read, CALLER); }             \
  HOOK void __tsan_write##bytes(void* p) { seen(p, bytes, Kind::write, CALLER); }           \
  HOOK void __tsan_unaligned_read##bytes(void* p) { seen(p, bytes, Kind::read, CALLER); }   \
  HOOK void __tsan_unaligned_write##bytes(void* p) { seen(p, bytes, Kind::write, CALLER); } \
  HOOK void __tsan_volatile_read##bytes(void* p) { seen(p, bytes, Kind::read, CALLER); }    \
  HOOK void __tsan_volatile_write##bytes(void* p) { seen(p, bytes, Kind::write, CALLER); }
ACCESS_HOOKS(1)
ACCESS_HOOKS(2)
ACCESS_HOOKS(4)
ACCESS_HOOKS(8)
ACCESS_HOOKS(16)

HOOK void __tsan_read_range(void* p, size_t bytes) { seen(p, bytes, Kind::read, CALLER); }
HOOK void __tsan_write_range(void* p, size_t bytes) { seen(p, bytes, Kind::write, CALLER); }

// std::atomic and the like, which host code in a kernel's file may use (for example shared_ptr).
#define CHANGE_HOOK(bits, name, expression)                                                                 \
  HOOK uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t* p, uint##bits##_t value, int) { \
    const auto old = seen_atomic(p, CALLER);                                                                \
    __atomic_store_n(p, static_cast<uint##bits##_t>(expression), __ATOMIC_SEQ_CST);                         \
    return old;                                                                                             \
  }
#define COMPARE_HOOK(bits, name)                                                                                    \
  HOOK int __tsan_atomic##bits##_##name(volatile uint##bits##_t* p, uint##bits##_t* expected, uint##bits##_t value, \
                                        int, int) {                                                                 \
    seen_atomic(p, CALLER);                                                                                         \
    return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);              \
  }
#define ATOMIC_HOOKS(bits)                                                                       \
  HOOK uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t* p, int) {        \
    return seen_atomic(p, CALLER);                                                               \
  }                                                                                              \
  HOOK void __tsan_atomic##bits##_store(volatile uint##bits##_t* p, uint##bits##_t value, int) { \
    seen_atomic(p, CALLER);                                                                      \
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                                \
  }                                                                                              \
  CHANGE_HOOK(bits, exchange, (static_cast<void>(old), value))                                   \
  CHANGE_HOOK(bits, fetch_add, old + value)                                                      \
  CHANGE_HOOK(bits, fetch_sub, old - value)                                                      \
  CHANGE_HOOK(bits, fetch_and, old& value)                                                       \
  CHANGE_HOOK(bits, fetch_or, old | value)                                                       \
  CHANGE_HOOK(bits, fetch_xor, old ^ value)                                                      \
  COMPARE_HOOK(bits, compare_exchange_strong)                                                    \
  COMPARE_HOOK(bits, compare_exchange_weak)
ATOMIC_HOOKS(8)
ATOMIC_HOOKS(16)
ATOMIC_HOOKS(32)
ATOMIC_HOOKS(64)
HOOK void __tsan_atomic_thread_fence(int) {}
HOOK void __tsan_atomic_signal_fence(int) {}
