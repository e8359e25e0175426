// The host's side of the CUDA platform: stream, device, errors.
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
  cuda::check(cudaGetDevice(&device), "tell which GPU is selected");
  return device;
}

void set_schedule(int64_t) {
  throw std::invalid_argument("a GPU schedules its threads itself; only the emulator's schedule can be set");
}

namespace cuda {

void check(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // what is told here must not be told again by the next call
  throw std::runtime_error(std::string("CUDA could not ") + doing + ": " + cudaGetErrorString(status) + " (" +
                           cudaGetErrorName(status) + ")");
}

void allow_shared_bytes(const void* kernel, size_t bytes) {
  constexpr size_t WITHOUT_ASKING = 48 * 1024;
  if (bytes <= WITHOUT_ASKING) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
        "give a kernel its shared memory");
}

}  // namespace cuda
}  // namespace gpudl
