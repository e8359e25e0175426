// Settings of a device that the host may change before it launches kernels. Each platform implements all of them.
#pragma once
#include <cstdint>

namespace gpudl {

constexpr int HOST = -1;  // instead of a GPU's number: host memory

void set_stream(int64_t stream);  // a cudaStream_t as an integer, for later launches
void set_device(int device);      // the GPU for later launches
void set_truncation(bool on);     // emulator: tensor cores truncate like a GPU's; throws on a GPU
int current_device();             // the GPU of launches; HOST in the emulator
void set_schedule(int64_t seed);  // emulator: 0 in order, odd uniform random, even random priorities; throws on a GPU

}  // namespace gpudl
