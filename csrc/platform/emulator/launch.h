// launch(kernel, grid, block, shared_bytes, arguments...): run a kernel to completion.
#pragma once
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#include "platform/emulator/words.h"

namespace gpudl {

namespace emulator {

struct LaunchShape {
  dim3 grid, block;
  size_t shared_bytes;
  dim3 resident{1};  // blocks resident at once, along each axis: one, a cluster, or the whole grid
  bool cooperative = false;
};

// Call body(arguments) once per thread of the grid. Rethrows what a thread throws; the engine stays usable.
void run(const LaunchShape& shape, void (*body)(void*), void* arguments);

int resident_blocks(int threads, size_t shared_bytes);

template <class... Parameters, class... Arguments>
void run_kernel(void (*kernel)(Parameters...), const LaunchShape& shape, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument per parameter of the kernel");
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;  // an empty tensor: nothing to do
  struct Call {
    void (*kernel)(Parameters...);
    std::tuple<std::decay_t<Parameters>...> arguments;
  } call{kernel, {static_cast<Parameters>(std::forward<Arguments>(arguments))...}};
  const auto body = [](void* pointer) {
    auto& call = *static_cast<Call*>(pointer);
    std::apply(call.kernel, call.arguments);
  };
  run(shape, body, &call);
}

}  // namespace emulator

// The signatures of the CUDA platform. Throw emulator::Error, a std::runtime_error, for a kernel's mistakes.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, Arguments&&... arguments) {
  emulator::run_kernel(kernel, {grid, block, shared_bytes}, std::forward<Arguments>(arguments)...);
}

// All blocks of the grid are resident at once, so that they may wait for each other: see grid_sync. Throws if the grid
// has more blocks than device::resident_blocks.
template <class... Parameters, class... Arguments>
void launch_cooperative(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                        Arguments&&... arguments) {
  emulator::run_kernel(kernel, {grid, block, shared_bytes, grid, true}, std::forward<Arguments>(arguments)...);
}

// The neighbouring blocks of each `cluster` (at most 8) are resident together: see cluster_rank.
template <class... Parameters, class... Arguments>
void launch_cluster(void (*kernel)(Parameters...), dim3 grid, dim3 cluster, dim3 block, size_t shared_bytes,
                    Arguments&&... arguments) {
  emulator::run_kernel(kernel, {grid, block, shared_bytes, cluster}, std::forward<Arguments>(arguments)...);
}

// Set bytes of device memory to zero, in order with the launches.
void clear(void* data, size_t bytes);

namespace device {

// Number of blocks of a kernel that the whole device holds at once; 0 if one block needs too much shared memory.
template <class... Parameters>
int resident_blocks(void (*)(Parameters...), int threads, size_t shared_bytes) {
  return emulator::resident_blocks(threads, shared_bytes);
}
// The same for clusters of `cluster` blocks each.
template <class... Parameters>
int resident_clusters(void (*)(Parameters...), int cluster, int threads, size_t shared_bytes) {
  const int blocks = emulator::resident_blocks(threads, shared_bytes);
  return blocks < cluster ? 1 : blocks / cluster;
}

}  // namespace device
}  // namespace gpudl
