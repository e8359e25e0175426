// All that a kernel may use of a device, in one header: CUDA's own words (threadIdx, __syncthreads, __shfl_xor_sync …),
// shared memory, asynchronous copies, tensor cores (namespace gpudl::device) and launch. nvcc sees the real
// instructions, every other compiler an emulation of them, so that one kernel source runs on both.
#pragma once
#include "platform/host_device.h"
#include "platform/types.h"

#if defined(__CUDACC__)
#include "platform/cuda/device.h"
#else
#include "platform/emulator/device.h"
#endif
