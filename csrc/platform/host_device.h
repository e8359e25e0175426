// GPUDL_HD marks functions for host and device, GPUDL_DEVICE functions for the device only.
#pragma once
#if defined(__CUDACC__)
#define GPUDL_HD __host__ __device__
#define GPUDL_DEVICE __device__ __forceinline__
#else
#define GPUDL_HD
#define GPUDL_DEVICE inline
#endif
