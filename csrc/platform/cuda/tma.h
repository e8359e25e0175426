// TMA (sm_90): a separate unit that copies boxes of a tensor between global and shared memory.
#pragma once
#include <cuda.h>  // types alone: libcuda is not linked

#include <cstdint>

#include "platform/host_device.h"
#include "platform/tensor_map.h"

namespace gpudl::device {

// Passed to kernels by value: const __grid_constant__ TensorMap map.
using TensorMap = CUtensorMap;

TensorMap encode_tensor_map(const TensorBox& tensor);

// The arrays hold one number per axis, innermost first; strides count elements. Throws std::invalid_argument for
// requests that the hardware cannot do, std::runtime_error if the driver is missing or refuses.
template <class T, int RANK>
TensorMap make_tensor_map(const T* data, const int64_t (&extent)[RANK], const int64_t (&stride)[RANK],
                          const int (&box)[RANK], Swizzle swizzle) {
  return encode_tensor_map(tensor_box(data, extent, stride, box, swizzle));
}

// A map of images for tma_load_image_…; see image_box.
template <class T, int RANK>
TensorMap make_image_map(const T* data, const int64_t (&extent)[RANK], const int64_t (&stride)[RANK],
                         const int (&first)[RANK - 2], const int (&beyond_last)[RANK - 2], const int (&step)[RANK - 2],
                         int channels, int pixels, Swizzle swizzle) {
  return encode_tensor_map(image_box(data, extent, stride, first, beyond_last, step, channels, pixels, swizzle));
}

#if GPUDL_HAS_SM90A

// Load the box that starts at the coordinates (innermost first) to a shared address; its bytes complete on the
// mbarrier.
GPUDL_DEVICE void tma_load_1d(uint32_t destination, const TensorMap* map, int x, uint32_t mbarrier) {
  asm volatile(
      "cp.async.bulk.tensor.1d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2}], [%3];" ::"r"(
          destination),
      "l"(map), "r"(x), "r"(mbarrier)
      : "memory");
}
GPUDL_DEVICE void tma_load_2d(uint32_t destination, const TensorMap* map, int x, int y, uint32_t mbarrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::
          "r"(destination),
      "l"(map), "r"(x), "r"(y), "r"(mbarrier)
      : "memory");
}
GPUDL_DEVICE void tma_load_3d(uint32_t destination, const TensorMap* map, int x, int y, int z, uint32_t mbarrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4}], "
      "[%5];" ::"r"(destination),
      "l"(map), "r"(x), "r"(y), "r"(z), "r"(mbarrier)
      : "memory");
}
GPUDL_DEVICE void tma_load_4d(uint32_t destination, const TensorMap* map, int x, int y, int z, int w,
                              uint32_t mbarrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5}], "
      "[%6];" ::"r"(destination),
      "l"(map), "r"(x), "r"(y), "r"(z), "r"(w), "r"(mbarrier)
      : "memory");
}
GPUDL_DEVICE void tma_load_5d(uint32_t destination, const TensorMap* map, int x, int y, int z, int w, int v,
                              uint32_t mbarrier) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3, %4, %5, "
      "%6}], [%7];" ::"r"(destination),
      "l"(map), "r"(x), "r"(y), "r"(z), "r"(w), "r"(v), "r"(mbarrier)
      : "memory");
}
// The same for the blocks of the cluster whose bits are set: each gets the box, and its bytes complete on its own
// mbarrier, at the same addresses.
GPUDL_DEVICE void tma_load_2d_multicast(uint32_t destination, const TensorMap* map, int x, int y, uint32_t mbarrier,
                                        uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(destination),
      "l"(map), "r"(x), "r"(y), "r"(mbarrier), "h"(blocks)
      : "memory");
}
GPUDL_DEVICE void tma_load_3d_multicast(uint32_t destination, const TensorMap* map, int x, int y, int z,
                                        uint32_t mbarrier, uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster "
      "[%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(destination),
      "l"(map), "r"(x), "r"(y), "r"(z), "r"(mbarrier), "h"(blocks)
      : "memory");
}
// From a map of images: channels from c on of the pixels that the tap at (tap_x, tap_y …) reads, for the window at
// pixel (x, y …) of image n and the windows that follow.
GPUDL_DEVICE void tma_load_image_4d(uint32_t destination, const TensorMap* map, int c, int x, int y, int n, int tap_x,
                                    int tap_y, uint32_t mbarrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4, %5}], [%6], {%7, %8};" ::"r"(destination),
      "l"(map), "r"(c), "r"(x), "r"(y), "r"(n), "r"(mbarrier), "h"(static_cast<uint16_t>(tap_x)),
      "h"(static_cast<uint16_t>(tap_y))
      : "memory");
}
GPUDL_DEVICE void tma_load_image_5d(uint32_t destination, const TensorMap* map, int c, int x, int y, int z, int n,
                                    int tap_x, int tap_y, int tap_z, uint32_t mbarrier) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4, %5, %6}], [%7], {%8, %9, %10};" ::"r"(destination),
      "l"(map), "r"(c), "r"(x), "r"(y), "r"(z), "r"(n), "r"(mbarrier), "h"(static_cast<uint16_t>(tap_x)),
      "h"(static_cast<uint16_t>(tap_y)), "h"(static_cast<uint16_t>(tap_z))
      : "memory");
}

// Copy `bytes` contiguous bytes; size and both addresses are multiples of 16.
GPUDL_DEVICE void tma_load_bytes(uint32_t destination, const void* source, int bytes, uint32_t mbarrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(destination),
      "l"(__cvta_generic_to_global(source)), "r"(bytes), "r"(mbarrier)
      : "memory");
}

// Store a box from a shared address; elements outside the tensor are skipped. One thread issues, commits and waits.
GPUDL_DEVICE void tma_store_1d(const TensorMap* map, uint32_t source, int x) {
  asm volatile("cp.async.bulk.tensor.1d.global.shared::cta.tile.bulk_group [%0, {%1}], [%2];" ::"l"(map), "r"(x),
               "r"(source)
               : "memory");
}
GPUDL_DEVICE void tma_store_2d(const TensorMap* map, uint32_t source, int x, int y) {
  asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map), "r"(x),
               "r"(y), "r"(source)
               : "memory");
}
GPUDL_DEVICE void tma_store_3d(const TensorMap* map, uint32_t source, int x, int y, int z) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.tile.bulk_group [%0, {%1, %2, %3}], [%4];" ::"l"(map),
               "r"(x), "r"(y), "r"(z), "r"(source)
               : "memory");
}
GPUDL_DEVICE void tma_store_4d(const TensorMap* map, uint32_t source, int x, int y, int z, int w) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%1, %2, %3, %4}], [%5];" ::"l"(map),
               "r"(x), "r"(y), "r"(z), "r"(w), "r"(source)
               : "memory");
}
GPUDL_DEVICE void tma_store_5d(const TensorMap* map, uint32_t source, int x, int y, int z, int w, int v) {
  asm volatile(
      "cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group [%0, {%1, %2, %3, %4, %5}], [%6];" ::"l"(map), "r"(x),
      "r"(y), "r"(z), "r"(w), "r"(v), "r"(source)
      : "memory");
}
GPUDL_DEVICE void tma_store_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Wait until at most N of this thread's committed groups are not written yet (_read: not read from shared memory yet).
template <int N>
GPUDL_DEVICE void tma_store_wait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory");
}
template <int N>
GPUDL_DEVICE void tma_store_wait_read() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory");
}

// Make this thread's writes to shared memory visible to TMA and wgmma. Call it before the barrier that precedes them.
GPUDL_DEVICE void fence_async_shared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Fetch a tensor map ahead of its first use.
GPUDL_DEVICE void tma_prefetch(const TensorMap* map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }

#endif

}  // namespace gpudl::device
