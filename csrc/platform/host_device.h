// GPUDL_HD marks a function for both host and device, GPUDL_DEVICE one for the device alone.
#pragma once
#if defined(__CUDACC__)
#define GPUDL_HD __host__ __device__
#define GPUDL_DEVICE __device__ __forceinline__
#else
#define GPUDL_HD
#define GPUDL_DEVICE inline
#endif
