// launch(kernel, grid, block, shared_bytes, arguments...) on the current stream.
#pragma once
#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

namespace gpudl {

cudaStream_t current_stream();  // of this host thread; set by set_stream

namespace cuda {
// Throws std::runtime_error that says what failed and what CUDA calls it.
void check(cudaError_t status, const char* doing);
// A kernel must ask for more than 48 KiB of dynamic shared memory before it is launched with it.
void allow_shared_bytes(const void* kernel, size_t bytes);
}  // namespace cuda

// Neither synchronises nor allocates. Throws std::runtime_error if CUDA refuses the launch.
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, Arguments&&... arguments) {
  static_assert(sizeof...(Parameters) == sizeof...(Arguments), "one argument per parameter of the kernel");
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;  // an empty tensor: nothing to do
  cuda::allow_shared_bytes(reinterpret_cast<const void*>(kernel), shared_bytes);
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = current_stream();
  cuda::check(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(std::forward<Arguments>(arguments))...),
              "launch a kernel");
}

}  // namespace gpudl
