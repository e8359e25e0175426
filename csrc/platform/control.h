// What the host may set on a device before it launches kernels. Each platform implements all of it.
#pragma once
#include <cstdint>

namespace gpudl {

constexpr int HOST = -1;  // in place of a GPU's number: memory that no GPU reads

void set_stream(int64_t stream);  // the stream, a cudaStream_t as an integer, that later launches use
void set_device(int device);      // the GPU that later launches use
void set_truncation(bool on);     // emulator: tensor cores truncate as a GPU's do; refused on a GPU, whose always do
int current_device();             // the GPU that launches use; HOST in the emulator
void set_schedule(int64_t seed);  // emulator: 0 in order, odd uniform random, even random priorities; refused on a GPU

}  // namespace gpudl
