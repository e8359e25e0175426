// What the host may set on a device before it launches kernels. Each platform implements all of it.
#pragma once
#include <cstdint>

namespace gpudl {

void set_stream(int64_t stream);  // the stream, a cudaStream_t as an integer, that later launches use
void set_device(int device);      // the GPU that later launches use
void set_schedule(int64_t seed);  // emulator: 0 in order, odd uniform random, even random priorities; refused on a GPU

}  // namespace gpudl
