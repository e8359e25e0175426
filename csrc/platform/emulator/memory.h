// Shared memory: an arena for each block that is alive. Its arrays lie apart, with guards between them, and start as
// NaN; they lie alike in all blocks.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "platform/emulator/error.h"
#include "platform/emulator/thread.h"

namespace gpudl::emulator {

extern uint64_t wave_serial;  // so that a placement in earlier blocks is not mistaken for one in those that are alive

// A static shared array of a kernel, and where it lies in the blocks that are alive.
struct SharedArray {
  const char* name;
  size_t bytes, alignment;
  Site site;
  uint64_t serial = 0;
  size_t offset = 0;

  void* here() {
    if (serial != wave_serial) place();
    return current->shared + offset;
  }
  void place();
};

void* dynamic_shared(const Site& site);

// The 32-bit shared address of a pointer, and back: the latter fails unless all the bytes lie in one shared array.
uint32_t shared_address(const void* pointer, const Site& site);
char* shared_bytes(uint32_t address, size_t bytes, size_t alignment, const Site& site);
bool is_shared(const void* pointer);
std::string describe_address(const void* pointer);  // for messages

void begin_shared_memory(size_t dynamic_bytes);  // new blocks
void end_shared_memory();                        // checks the guards
char* shared_memory_of(unsigned block);          // of those that are alive

}  // namespace gpudl::emulator

// A static shared array: GPUDL_SHARED(float, tile, [8][132]);
#define GPUDL_SHARED(T, name, dims)                                                                       \
  static ::gpudl::emulator::SharedArray name##_placement_{#name, sizeof(T dims), alignof(T),              \
                                                          ::gpudl::emulator::Site::here("GPUDL_SHARED")}; \
  auto& name = *static_cast<std::type_identity_t<T dims>*>(name##_placement_.here())

// The dynamic shared array, launch's shared_bytes long, aligned to 1024 bytes: GPUDL_DYNAMIC_SHARED(bytes);
#define GPUDL_DYNAMIC_SHARED(name)                         \
  unsigned char* const name = static_cast<unsigned char*>( \
      ::gpudl::emulator::dynamic_shared(::gpudl::emulator::Site::here("GPUDL_DYNAMIC_SHARED")))

#define __shared__ static_assert(false, "write GPUDL_SHARED(type, name, [extent]); instead of __shared__");

namespace gpudl::device {

inline uint32_t shared_address(const void* pointer, emulator::Site site = emulator::Site::here("shared_address")) {
  return emulator::shared_address(pointer, site);
}

}  // namespace gpudl::device
