// TMA: a separate unit that copies boxes of a tensor between global and shared memory. Loads complete on an mbarrier;
// for stores the issuing thread waits. Here both happen as late as allowed.
#pragma once
#include <cstdint>

#include "platform/emulator/error.h"
#include "platform/tensor_map.h"

namespace gpudl::emulator {

struct Thread;

}  // namespace gpudl::emulator

namespace gpudl::device {

// Passed to kernels by value: const __grid_constant__ TensorMap map.
struct TensorMap {
  TensorBox tensor;
};

// The arrays hold one number per axis, innermost first; strides count elements. Throws std::invalid_argument.
template <class T, int RANK>
TensorMap make_tensor_map(const T* data, const int64_t (&extent)[RANK], const int64_t (&stride)[RANK],
                          const int (&box)[RANK], Swizzle swizzle) {
  const TensorMap map{tensor_box(data, extent, stride, box, swizzle)};
  check_tensor_box(map.tensor);
  return map;
}

// A map of images for tma_load_image_…; see image_box.
template <class T, int RANK>
TensorMap make_image_map(const T* data, const int64_t (&extent)[RANK], const int64_t (&stride)[RANK],
                         const int (&first)[RANK - 2], const int (&beyond_last)[RANK - 2], const int (&step)[RANK - 2],
                         int channels, int pixels, Swizzle swizzle) {
  const TensorMap map{image_box(data, extent, stride, first, beyond_last, step, channels, pixels, swizzle)};
  check_tensor_box(map.tensor);
  return map;
}

}  // namespace gpudl::device

namespace gpudl::emulator {

// blocks: a bit for each block of the cluster that gets the box, at the same addresses; 0: only this block.
void tma_load(uint32_t destination, const device::TensorMap& map, const int* coordinates, int rank, uint32_t mbarrier,
              unsigned blocks, const Site& site);
// tap: offset from the start of a window along each axis of pixels.
void tma_load_image(uint32_t destination, const device::TensorMap& map, const int* coordinates, const int* tap,
                    int rank, uint32_t mbarrier, const Site& site);
void tma_store(const device::TensorMap& map, uint32_t source, const int* coordinates, int rank, const Site& site);
void tma_bulk_load(uint32_t destination, const void* source, size_t bytes, uint32_t mbarrier, const Site& site);
void tma_store_commit();
void tma_store_wait(size_t groups_left);

void begin_tma();  // for new blocks
void end_tma();    // fails if a load is still in flight
bool land_one_load();
bool loads_in_flight();
void check_stores_complete(const Thread& thread);

}  // namespace gpudl::emulator

namespace gpudl::device {

using emulator::Site;

// Load the box that starts at the coordinates (innermost first) to a shared address; its bytes complete on the
// mbarrier.
inline void tma_load_1d(uint32_t destination, const TensorMap* map, int x, uint32_t mbarrier,
                        Site site = Site::here("tma_load_1d")) {
  const int at[] = {x};
  emulator::tma_load(destination, *map, at, 1, mbarrier, 0, site);
}
inline void tma_load_2d(uint32_t destination, const TensorMap* map, int x, int y, uint32_t mbarrier,
                        Site site = Site::here("tma_load_2d")) {
  const int at[] = {x, y};
  emulator::tma_load(destination, *map, at, 2, mbarrier, 0, site);
}
inline void tma_load_3d(uint32_t destination, const TensorMap* map, int x, int y, int z, uint32_t mbarrier,
                        Site site = Site::here("tma_load_3d")) {
  const int at[] = {x, y, z};
  emulator::tma_load(destination, *map, at, 3, mbarrier, 0, site);
}
inline void tma_load_4d(uint32_t destination, const TensorMap* map, int x, int y, int z, int w, uint32_t mbarrier,
                        Site site = Site::here("tma_load_4d")) {
  const int at[] = {x, y, z, w};
  emulator::tma_load(destination, *map, at, 4, mbarrier, 0, site);
}
inline void tma_load_5d(uint32_t destination, const TensorMap* map, int x, int y, int z, int w, int v,
                        uint32_t mbarrier, Site site = Site::here("tma_load_5d")) {
  const int at[] = {x, y, z, w, v};
  emulator::tma_load(destination, *map, at, 5, mbarrier, 0, site);
}

// The same for the blocks of the cluster whose bits are set: each gets the box, and its bytes complete on its own
// mbarrier, at the same addresses.
inline void tma_load_2d_multicast(uint32_t destination, const TensorMap* map, int x, int y, uint32_t mbarrier,
                                  uint16_t blocks, Site site = Site::here("tma_load_2d_multicast")) {
  const int at[] = {x, y};
  emulator::tma_load(destination, *map, at, 2, mbarrier, blocks, site);
}
inline void tma_load_3d_multicast(uint32_t destination, const TensorMap* map, int x, int y, int z, uint32_t mbarrier,
                                  uint16_t blocks, Site site = Site::here("tma_load_3d_multicast")) {
  const int at[] = {x, y, z};
  emulator::tma_load(destination, *map, at, 3, mbarrier, blocks, site);
}

// From a map of images: channels from c on of the pixels that the tap at (tap_x, tap_y …) reads, for the window at
// pixel (x, y …) of image n and the windows that follow.
inline void tma_load_image_4d(uint32_t destination, const TensorMap* map, int c, int x, int y, int n, int tap_x,
                              int tap_y, uint32_t mbarrier, Site site = Site::here("tma_load_image_4d")) {
  const int at[] = {c, x, y, n}, tap[] = {tap_x, tap_y};
  emulator::tma_load_image(destination, *map, at, tap, 4, mbarrier, site);
}
inline void tma_load_image_5d(uint32_t destination, const TensorMap* map, int c, int x, int y, int z, int n, int tap_x,
                              int tap_y, int tap_z, uint32_t mbarrier, Site site = Site::here("tma_load_image_5d")) {
  const int at[] = {c, x, y, z, n}, tap[] = {tap_x, tap_y, tap_z};
  emulator::tma_load_image(destination, *map, at, tap, 5, mbarrier, site);
}

// Copy `bytes` contiguous bytes; size and both addresses are multiples of 16.
inline void tma_load_bytes(uint32_t destination, const void* source, int bytes, uint32_t mbarrier,
                           Site site = Site::here("tma_load_bytes")) {
  emulator::tma_bulk_load(destination, source, static_cast<size_t>(bytes), mbarrier, site);
}

// Store a box from a shared address; elements outside the tensor are skipped. One thread issues, commits and waits.
inline void tma_store_1d(const TensorMap* map, uint32_t source, int x, Site site = Site::here("tma_store_1d")) {
  const int at[] = {x};
  emulator::tma_store(*map, source, at, 1, site);
}
inline void tma_store_2d(const TensorMap* map, uint32_t source, int x, int y, Site site = Site::here("tma_store_2d")) {
  const int at[] = {x, y};
  emulator::tma_store(*map, source, at, 2, site);
}
inline void tma_store_3d(const TensorMap* map, uint32_t source, int x, int y, int z,
                         Site site = Site::here("tma_store_3d")) {
  const int at[] = {x, y, z};
  emulator::tma_store(*map, source, at, 3, site);
}
inline void tma_store_4d(const TensorMap* map, uint32_t source, int x, int y, int z, int w,
                         Site site = Site::here("tma_store_4d")) {
  const int at[] = {x, y, z, w};
  emulator::tma_store(*map, source, at, 4, site);
}
inline void tma_store_5d(const TensorMap* map, uint32_t source, int x, int y, int z, int w, int v,
                         Site site = Site::here("tma_store_5d")) {
  const int at[] = {x, y, z, w, v};
  emulator::tma_store(*map, source, at, 5, site);
}
inline void tma_store_commit() { emulator::tma_store_commit(); }
// Wait until at most N of this thread's committed groups are not written yet (_read: not read from shared memory yet).
template <int N>
inline void tma_store_wait() {
  emulator::tma_store_wait(N);
}
template <int N>
inline void tma_store_wait_read() {
  emulator::tma_store_wait(N);
}

// Make this thread's writes to shared memory visible to TMA and wgmma. Call it before the barrier that precedes them.
void fence_async_shared(Site site = Site::here("fence_async_shared"));

// Fetch a tensor map ahead of its first use.
inline void tma_prefetch(const TensorMap*) {}

}  // namespace gpudl::device
