// launch(kernel, grid, block, shared_bytes, arguments...) on the current stream, and its variants.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

namespace gpudl {

cudaStream_t current_stream();  // this host thread's, set by set_stream

// Set bytes of device memory to zero, in order with the launches.
void clear(void* data, size_t bytes);

namespace cuda {

// Throws std::runtime_error with what failed and CUDA's error.
void check(cudaError_t status, const char* doing);
// More than 48 KiB of dynamic shared memory must be requested before the launch.
void allow_shared_bytes(const void* kernel, size_t bytes);
int resident_blocks(const void* kernel, int threads, size_t shared_bytes);
int resident_clusters(const void* kernel, int cluster, int threads, size_t shared_bytes);

template <class... Parameters, class... Arguments>
void run_kernel(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                const cudaLaunchAttribute* attribute, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument per parameter of the kernel");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;  // an empty tensor: nothing to do
  allow_shared_bytes(reinterpret_cast<const void*>(kernel), shared_bytes);
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = current_stream();
  config.attrs = const_cast<cudaLaunchAttribute*>(attribute);
  config.numAttrs = attribute != nullptr;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(std::forward<Arguments>(arguments))...),
        "launch a kernel");
}

}  // namespace cuda

// Neither synchronises nor allocates. Throws std::runtime_error if CUDA refuses the launch.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, Arguments&&... arguments) {
  cuda::run_kernel(kernel, grid, block, shared_bytes, nullptr, std::forward<Arguments>(arguments)...);
}

// All blocks of the grid are resident at once, so that they may wait for each other: see grid_sync. Throws if the grid
// has more blocks than device::resident_blocks.
template <class... Parameters, class... Arguments>
void launch_cooperative(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                        Arguments&&... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = 1;
  cuda::run_kernel(kernel, grid, block, shared_bytes, &attribute, std::forward<Arguments>(arguments)...);
}

// The neighbouring blocks of each `cluster` (at most 8) are resident together: see cluster_rank.
template <class... Parameters, class... Arguments>
void launch_cluster(void (*kernel)(Parameters...), dim3 grid, dim3 cluster, dim3 block, size_t shared_bytes,
                    Arguments&&... arguments) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = cluster.x;
  attribute.val.clusterDim.y = cluster.y;
  attribute.val.clusterDim.z = cluster.z;
  cuda::run_kernel(kernel, grid, block, shared_bytes, &attribute, std::forward<Arguments>(arguments)...);
}

namespace device {

// Number of blocks of a kernel that the whole device holds at once; 0 if one block needs too much shared memory.
template <class... Parameters>
int resident_blocks(void (*kernel)(Parameters...), int threads, size_t shared_bytes) {
  return cuda::resident_blocks(reinterpret_cast<const void*>(kernel), threads, shared_bytes);
}
// The same for clusters of `cluster` blocks each.
template <class... Parameters>
int resident_clusters(void (*kernel)(Parameters...), int cluster, int threads, size_t shared_bytes) {
  return cuda::resident_clusters(reinterpret_cast<const void*>(kernel), cluster, threads, shared_bytes);
}

}  // namespace device
}  // namespace gpudl
