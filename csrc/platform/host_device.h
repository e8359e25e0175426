// GPUDL_HD marks a function for both host and device.
#pragma once
#if defined(__CUDACC__)
#define GPUDL_HD __host__ __device__
#else
#define GPUDL_HD
#endif
