// The device under the emulator: everything that kernels may use, for the host's compiler.
#pragma once
#include "platform/bfloat16.h"
#include "platform/emulator/atomic.h"
#include "platform/emulator/barrier.h"
#include "platform/emulator/cluster.h"
#include "platform/emulator/copy.h"
#include "platform/emulator/launch.h"
#include "platform/emulator/math.h"
#include "platform/emulator/mbarrier.h"
#include "platform/emulator/memory.h"
#include "platform/emulator/options.h"
#include "platform/emulator/tensor_core.h"
#include "platform/emulator/thread.h"
#include "platform/emulator/tma.h"
#include "platform/emulator/warp.h"
#include "platform/emulator/wgmma.h"
#include "platform/emulator/words.h"
#include "platform/float16.h"

#define GPUDL_HAS_SM80 1
#define GPUDL_HAS_SM90A 1
