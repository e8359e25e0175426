// Shared memory: an arena for each resident block. Its arrays are separated by guards and start as NaN; their offsets
// are the same in all blocks.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "platform/emulator/error.h"
#include "platform/emulator/thread.h"

namespace gpudl::emulator {

extern uint64_t wave_serial;  // tells placements in earlier blocks from those in resident blocks

// A static shared array of a kernel, and its place in the resident blocks.
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

// The 32-bit shared address of a pointer, and back: this fails unless all bytes lie in one shared array.
uint32_t shared_address(const void* pointer, const Site& site);
char* shared_bytes(uint32_t address, size_t bytes, size_t alignment, const Site& site);
bool is_shared(const void* pointer);
std::string describe_address(const void* pointer);  // for messages

void begin_shared_memory(size_t dynamic_bytes);  // for new blocks
void end_shared_memory();                        // checks the guards
char* shared_memory_of(unsigned block);          // a resident block

}  // namespace gpudl::emulator

// A static shared array: GPUDL_SHARED(float, tile, [8][132]);
#define GPUDL_SHARED(T, name, dims)                                                                       \
  static ::gpudl::emulator::SharedArray name##_placement_{#name, sizeof(T dims), alignof(T),              \
                                                          ::gpudl::emulator::Site::here("GPUDL_SHARED")}; \
  auto& name = *static_cast<std::type_identity_t<T dims>*>(name##_placement_.here())

// The dynamic shared array of launch's shared_bytes, aligned to 1024 bytes: GPUDL_DYNAMIC_SHARED(bytes);
#define GPUDL_DYNAMIC_SHARED(name)                         \
  unsigned char* const name = static_cast<unsigned char*>( \
      ::gpudl::emulator::dynamic_shared(::gpudl::emulator::Site::here("GPUDL_DYNAMIC_SHARED")))

#define __shared__ static_assert(false, "write GPUDL_SHARED(type, name, [extent]); instead of __shared__");

namespace gpudl::device {

inline uint32_t shared_address(const void* pointer, emulator::Site site = emulator::Site::here("shared_address")) {
  return emulator::shared_address(pointer, site);
}

}  // namespace gpudl::device
