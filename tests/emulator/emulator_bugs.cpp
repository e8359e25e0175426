// Planted bugs that nvcc rejects, so only the emulator can run them.
#include "harness.h"

using namespace gpudl;
using harness::Buffer;

namespace {

template <bool PLANTED>
__global__ void static_limit_kernel(uint32_t* out) {
  GPUDL_SHARED(uint32_t, tile, [PLANTED ? 12289 : 1024]);  // planted: static_limit
  tile[threadIdx.x] = 1;
  out[threadIdx.x] = tile[threadIdx.x];
}

BUG(static_limit) {
  Buffer<uint32_t> out(32);
  launch(static_limit_kernel<PLANTED>, 1, 32, 0, out.data());
}

template <bool PLANTED>
__global__ void thrown_kernel(uint32_t* out) {
  if (PLANTED && threadIdx.x == 7) throw std::runtime_error("the kernel gave up");
  __syncthreads();
  out[threadIdx.x] = 1;
}

BUG(thrown) {
  Buffer<uint32_t> out(64);
  launch(thrown_kernel<PLANTED>, 1, 64, 0, out.data());
}

}  // namespace
