// Shared memory.
#pragma once
#include <cstdint>

#include "platform/host_device.h"

// A static shared array: GPUDL_SHARED(float, tile, [8][132]);
#define GPUDL_SHARED(T, name, dims) __shared__ __align__(16) T name dims

// The dynamic shared array of launch's shared_bytes, aligned to 1024 bytes: GPUDL_DYNAMIC_SHARED(bytes);
#define GPUDL_DYNAMIC_SHARED(name) extern __shared__ __align__(1024) unsigned char name[]

namespace gpudl::device {

// The 32-bit shared address that copies, matrix loads and barriers use.
GPUDL_DEVICE uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

}  // namespace gpudl::device
