// Shared memory: one arena for the running block. Its arrays lie apart, with guards between them, and start as NaN.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

#include "platform/emulator/error.h"

namespace gpudl::emulator {

extern uint64_t block_serial;  // counts blocks, so that a placement of an earlier block is not mistaken for this one's

// A static shared array of a kernel, and where it lies in the running block.
struct SharedArray {
  const char* name;
  size_t bytes, alignment;
  Site site;
  uint64_t serial = 0;
  void* data = nullptr;

  void* here() {
    if (serial != block_serial) place();
    return data;
  }
  void place();
};

void* dynamic_shared(const Site& site);

// The 32-bit shared address of a pointer, and back: the latter fails unless all the bytes lie in one shared array.
uint32_t shared_address(const void* pointer, const Site& site);
char* shared_bytes(uint32_t address, size_t bytes, size_t alignment, const Site& site);
bool is_shared(const void* pointer);
std::string describe_address(const void* pointer);  // for messages

void begin_shared_memory(size_t dynamic_bytes);  // a new block
void end_shared_memory();                        // checks the guards

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
