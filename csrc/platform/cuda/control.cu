// The host side of the CUDA platform: stream, device, errors.
#include <stdexcept>
#include <string>

#include "platform/control.h"
#include "platform/cuda/launch.h"

namespace gpudl {

namespace {
thread_local cudaStream_t stream_of_this_thread = nullptr;
}

cudaStream_t current_stream() { return stream_of_this_thread; }

void set_stream(int64_t stream) { stream_of_this_thread = reinterpret_cast<cudaStream_t>(stream); }

void set_device(int device) { cuda::check(cudaSetDevice(device), "select the GPU"); }

int current_device() {
  int device = 0;
  cuda::check(cudaGetDevice(&device), "get the current GPU");
  return device;
}

void clear(void* data, size_t bytes) {
  cuda::check(cudaMemsetAsync(data, 0, bytes, stream_of_this_thread), "clear memory");
}

void set_truncation(bool) {
  throw std::invalid_argument("a GPU's tensor cores always truncate; only the emulator's can be set");
}

void set_schedule(int64_t) {
  throw std::invalid_argument("a GPU schedules its threads itself; only the emulator's schedule can be set");
}

namespace cuda {

void check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // clear the error, so that the next call does not report it again
  throw std::runtime_error(std::string("CUDA could not ") + doing + ": " + cudaGetErrorString(status) + " (" +
                           cudaGetErrorName(status) + ")");
}

void allow_shared_bytes(const void* kernel, size_t bytes) {
  constexpr size_t WITHOUT_ASKING = 48 * 1024;
  if (bytes <= WITHOUT_ASKING) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        "set a kernel's limit of shared memory");
}

int resident_blocks(const void* kernel, int threads, size_t shared_bytes) {
  int device = 0, multiprocessors = 0, blocks = 0, most = 0;
  check(cudaGetDevice(&device), "get the current GPU");
  check(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
        "get its limit of shared memory");
  if (shared_bytes > static_cast<size_t>(most)) return 0;
  allow_shared_bytes(kernel, shared_bytes);
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device), "count multiprocessors");
  check(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel, threads, shared_bytes),
        "get the number of resident blocks");
  return blocks * multiprocessors;
}

int resident_clusters(const void* kernel, int cluster, int threads, size_t shared_bytes) {
  allow_shared_bytes(kernel, shared_bytes);
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = static_cast<unsigned>(cluster);
  attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = static_cast<unsigned>(cluster);
  config.blockDim = static_cast<unsigned>(threads);
  config.dynamicSmemBytes = shared_bytes;
  config.attrs = &attribute;
  config.numAttrs = 1;
  int clusters = 0;
  check(cudaOccupancyMaxActiveClusters(&clusters, kernel, &config), "get the number of resident clusters");
  return clusters;
}

}  // namespace cuda
}  // namespace gpudl
