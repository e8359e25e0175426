// The device under CUDA. All inline PTX of the project is in this folder.
#pragma once
#include <cuda_runtime.h>

// Features of the target. Both are 1 in host compilation, where bodies of kernels are only parsed.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
#define GPUDL_HAS_SM80 1
#else
#define GPUDL_HAS_SM80 0
#endif
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define GPUDL_HAS_SM90A 1
#else
#define GPUDL_HAS_SM90A 0
#endif

#include "platform/bfloat16.h"
#include "platform/cuda/barrier.h"
#include "platform/cuda/cluster.h"
#include "platform/cuda/copy.h"
#include "platform/cuda/grid.h"
#include "platform/cuda/launch.h"
#include "platform/cuda/mbarrier.h"
#include "platform/cuda/memory.h"
#include "platform/cuda/tensor_core.h"
#include "platform/cuda/tma.h"
#include "platform/cuda/wgmma.h"
#include "platform/float16.h"
