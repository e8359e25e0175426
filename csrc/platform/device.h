// Everything of a device that kernels may use: CUDA's built-ins (threadIdx, __syncthreads, __shfl_xor_sync …), shared
// memory, asynchronous copies, tensor cores (namespace gpudl::device) and launch. nvcc gets the real instructions,
// every other compiler an emulation, so that one kernel source runs on both.
#pragma once
#include "platform/host_device.h"
#include "platform/types.h"

#if defined(__CUDACC__)
#include "platform/cuda/device.h"
#else
#include "platform/emulator/device.h"
#endif
