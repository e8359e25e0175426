// Planted bugs that any GPU kernel can have, and the same kernels without them.
#include <numeric>

#include "harness.h"

using namespace gpudl;
using harness::Buffer;
using harness::expect_equal;
using harness::whole_numbers;

namespace {

constexpr unsigned ALL = 0xffffffffu;

template <bool PLANTED>
__global__ void missing_barrier_kernel(const float* x, float* y) {
  GPUDL_SHARED(float, tile, [64]);
  const int t = threadIdx.x;
  tile[t] = x[t];
  if (!PLANTED) __syncthreads();
  y[t] = tile[63 - t];  // planted: missing_barrier
}

BUG(missing_barrier) {
  const auto x = whole_numbers(64, 1);
  Buffer<float> input(x), output(64);
  launch(missing_barrier_kernel<PLANTED>, 1, 64, 0, input.data(), output.data());
  expect_equal(output.get(), {x.rbegin(), x.rend()});
}

// Sums of rows: each warp reduces its part, and every thread adds up the sums of the warps.
template <bool PLANTED>
__global__ void write_after_read_kernel(const float* x, float* y, int rows) {
  GPUDL_SHARED(float, scratch, [4]);
  for (int row = 0; row < rows; ++row) {
    float sum = x[row * 128 + threadIdx.x];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(ALL, sum, step);
    if (!PLANTED) __syncthreads();                               // threads may still read the sums of the last row
    if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = sum;  // planted: write_after_read
    __syncthreads();
    y[row * 128 + threadIdx.x] = scratch[0] + scratch[1] + scratch[2] + scratch[3];
  }
}

BUG(write_after_read) {
  constexpr int ROWS = 6;
  const auto x = whole_numbers(ROWS * 128, 2);
  std::vector<float> expected;
  for (int row = 0; row < ROWS; ++row)
    expected.insert(expected.end(), 128, std::accumulate(x.begin() + row * 128, x.begin() + (row + 1) * 128, 0.0f));
  Buffer<float> input(x), output(x.size());
  launch(write_after_read_kernel<PLANTED>, 1, 128, 0, input.data(), output.data(), ROWS);
  expect_equal(output.get(), expected);
}

template <bool PLANTED>
__global__ void missing_copy_wait_kernel(const float4* x, float4* y) {
#if GPUDL_HAS_SM80
  GPUDL_SHARED(float4, tile, [32]);
  device::cp_async<16>(device::shared_address(&tile[threadIdx.x]), &x[threadIdx.x]);
  device::cp_async_commit();
  if (!PLANTED) device::cp_async_wait<0>();
  __syncthreads();
  y[threadIdx.x] = tile[31 - threadIdx.x];  // planted: missing_copy_wait
  device::cp_async_wait<0>();
#endif
}

template <bool PLANTED>
__global__ void wait_without_barrier_kernel(const float4* x, float4* y) {
#if GPUDL_HAS_SM80
  GPUDL_SHARED(float4, tile, [32]);
  device::cp_async<16>(device::shared_address(&tile[threadIdx.x]), &x[threadIdx.x]);
  device::cp_async_commit();
  device::cp_async_wait<0>();  // only for the copies of this thread
  if (!PLANTED) __syncthreads();
  y[threadIdx.x] = tile[31 - threadIdx.x];  // planted: wait_without_barrier
#endif
}

void check_reversed(void (*kernel)(const float4*, float4*)) {
  const auto x = whole_numbers(128, 3);
  std::vector<float> expected;
  for (int i = 0; i < 128; ++i) expected.push_back(x[(31 - i / 4) * 4 + i % 4]);
  Buffer<float> input(x), output(128);
  launch(kernel, 1, 32, 0, reinterpret_cast<const float4*>(input.data()), reinterpret_cast<float4*>(output.data()));
  expect_equal(output.get(), expected);
}

BUG(missing_copy_wait) { check_reversed(missing_copy_wait_kernel<PLANTED>); }
BUG(wait_without_barrier) { check_reversed(wait_without_barrier_kernel<PLANTED>); }

template <bool PLANTED>
__global__ void shared_overrun_kernel(float* y) {
  GPUDL_SHARED(float, tile, [32]);  // planted: declared_overrun
  GPUDL_SHARED(float, other, [32]);
  const int t = threadIdx.x;
  other[t] = 1;
  tile[PLANTED && t == 31 ? y == nullptr ? 0 : 32 : t] = 2;  // planted: shared_overrun
  __syncthreads();
  y[t] = other[t];
}

BUG(shared_overrun) {
  Buffer<float> y(32);
  launch(shared_overrun_kernel<PLANTED>, 1, 32, 0, y.data());
}

template <bool PLANTED>
__global__ void dynamic_overrun_kernel(float* y) {
  GPUDL_DYNAMIC_SHARED(bytes);
  float* tile = reinterpret_cast<float*>(bytes);
  const int t = threadIdx.x;
  tile[t] = y[t];
  __syncthreads();
  y[t] = tile[PLANTED ? t + 1 : t];  // planted: dynamic_overrun
}

BUG(dynamic_overrun) {
  Buffer<float> y(32);
  launch(dynamic_overrun_kernel<PLANTED>, 1, 32, 32 * 4, y.data());
}

template <bool PLANTED>
__global__ void shared_address_overrun_kernel(uint32_t* out) {
#if GPUDL_HAS_SM80
  GPUDL_SHARED(uint16_t, rows, [32][8]);
  for (int i = 0; i < 8; ++i) rows[threadIdx.x][i] = 1;
  __syncwarp();
  uint32_t fragment[4];
  const uint32_t address = device::shared_address(rows[threadIdx.x]) + (PLANTED ? 16 : 0);
  device::ldmatrix_x4(fragment, address);  // planted: shared_address_overrun
  out[threadIdx.x] = fragment[0];
#endif
}

template <bool PLANTED>
__global__ void misaligned_row_kernel(uint32_t* out) {
#if GPUDL_HAS_SM80
  GPUDL_SHARED(uint16_t, rows, [33][8]);
  for (int i = 0; i < 8; ++i) rows[threadIdx.x][i] = 1;
  if (threadIdx.x == 0) rows[32][0] = 1;
  __syncwarp();
  uint32_t fragment[2];
  const uint32_t address = device::shared_address(rows[threadIdx.x]) + (PLANTED ? 2 : 0);
  device::ldmatrix_x2(fragment, address);  // planted: misaligned_row
  out[threadIdx.x] = fragment[0];
#endif
}

template <bool PLANTED>
__global__ void misaligned_copy_kernel(uint32_t* out) {
#if GPUDL_HAS_SM80
  GPUDL_SHARED(uint32_t, tile, [64]);
  const uint32_t* source = out + (PLANTED ? 1 : 0);
  device::cp_async<8>(device::shared_address(&tile[threadIdx.x * 2]), source);  // planted: misaligned_copy
  device::cp_async_commit();
  device::cp_async_wait<0>();
#endif
}

template <bool PLANTED>
__global__ void misaligned_vector_kernel(uint32_t* out) {
  uint4* vector = reinterpret_cast<uint4*>(out + (PLANTED ? 1 : 0));
  if (threadIdx.x == 0) *vector = make_uint4(1, 2, 3, 4);  // planted: misaligned_vector
}

template <bool PLANTED>
__global__ void global_overrun_kernel(uint32_t* out) {
  if (threadIdx.x < (PLANTED ? 33 : 32)) out[threadIdx.x] = 1;  // planted: global_overrun
}

template <bool PLANTED>
__global__ void null_pointer_kernel(uint32_t* out) {
  volatile uint32_t* target = PLANTED && threadIdx.x == 7 ? nullptr : out + threadIdx.x;
  *target = threadIdx.x;  // planted: null_pointer
}

template <bool PLANTED>
__global__ void diverged_shuffle_kernel(uint32_t* out) {
  uint32_t value = threadIdx.x;
  if (PLANTED && threadIdx.x >= 16) {
    value = __shfl_xor_sync(ALL, value, 2);
  } else {
    value = __shfl_xor_sync(ALL, value, 1);  // planted: diverged_shuffle
  }
  out[threadIdx.x] = value;
}

template <bool PLANTED>
__global__ void exit_before_shuffle_kernel(uint32_t* out) {
  if (PLANTED && threadIdx.x == 5) return;
  out[threadIdx.x] = __shfl_xor_sync(ALL, threadIdx.x, 1);  // planted: exit_before_shuffle
}

template <bool PLANTED>
__global__ void absent_lane_kernel(uint32_t* out) {
  if (threadIdx.x < 16)
    out[threadIdx.x] = __shfl_sync(0x0000ffffu, threadIdx.x, PLANTED ? 20 : 3);  // planted: absent_lane
}

template <bool PLANTED>
__global__ void diverged_barrier_kernel(uint32_t* out) {
  if (PLANTED && threadIdx.x >= 32) {
    __syncthreads();
  } else {
    __syncthreads();  // planted: diverged_barrier
  }
  if (threadIdx.x < 32) out[threadIdx.x] = 1;
}

template <bool PLANTED>
__global__ void deadlock_kernel(uint32_t* out) {
  if (!PLANTED || threadIdx.x < 32) device::named_barrier_sync(1, 64);  // planted: deadlock
  __syncthreads();
  if (threadIdx.x < 32) out[threadIdx.x] = 1;
}

template <bool PLANTED>
__global__ void barrier_count_kernel(uint32_t* out) {
  if (threadIdx.x < 32) device::named_barrier_sync(1, 64);
  else device::named_barrier_sync(1, PLANTED ? 96 : 64);  // planted: barrier_count
  if (threadIdx.x < 32) out[threadIdx.x] = 1;
}

template <bool PLANTED>
__global__ void unwritten_shared_kernel(uint32_t* out) {
  GPUDL_SHARED(uint32_t, tile, [32]);
  if (!PLANTED || threadIdx.x != 9) tile[threadIdx.x] = 1;
  __syncthreads();
  out[threadIdx.x] = tile[31 - threadIdx.x];  // planted: unwritten_shared
}

template <bool PLANTED>
__global__ void half_warp_kernel(uint32_t* out) {  // __syncwarp of one half orders nothing for the other
  GPUDL_SHARED(uint32_t, slot, [32]);
  const unsigned lane = threadIdx.x;
  slot[lane] = lane;
  const unsigned mask = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  __syncwarp(mask);
  out[lane] = slot[PLANTED ? 31 - lane : lane ^ 1];  // planted: half_warp
}

template <bool PLANTED>
__global__ void blocks_race_kernel(uint32_t* out) {  // two blocks write the same element
  const int i = PLANTED ? threadIdx.x + blockIdx.x * 15 : threadIdx.x + blockIdx.x * 16;
  if (threadIdx.x < 16) out[i] = i;  // planted: blocks_race
}

template <bool PLANTED>
__global__ void threads_race_kernel(uint32_t* out) {  // in global memory, within a block
  out[threadIdx.x] = threadIdx.x;
  if (!PLANTED) __syncthreads();
  if (threadIdx.x > 0) out[threadIdx.x] += out[0];  // planted: threads_race
}

template <bool PLANTED>
__global__ void unfenced_blocks_kernel(uint32_t* out) {  // the last block reads what the others wrote
  GPUDL_SHARED(uint32_t, before, [1]);
  if (threadIdx.x == 0) {
    out[1 + blockIdx.x] = 5;
    if (!PLANTED) __threadfence();
    before[0] = atomicAdd(out, 1u);
  }
  __syncthreads();
  if (threadIdx.x == 0 && before[0] == 2) out[10] = out[1] + out[2] + out[3];  // planted: unfenced_blocks
}

// Runs a kernel that writes at most 32 elements, and after a failure another: a bug must leave the engine usable.
void run(void (*kernel)(uint32_t*), int blocks, int threads) {
  Buffer<uint32_t> out(32);
  try {
    launch(kernel, blocks, threads, 0, out.data());
    out.get();
  } catch (...) {
    Buffer<float> x(64, 1.0f), y(64);
    launch(missing_barrier_kernel<false>, 1, 64, 0, x.data(), y.data());
    expect_equal(y.get(), x.get());
    throw;
  }
}

BUG(shared_address_overrun) { run(shared_address_overrun_kernel<PLANTED>, 1, 32); }
BUG(misaligned_row) { run(misaligned_row_kernel<PLANTED>, 1, 32); }
BUG(misaligned_copy) { run(misaligned_copy_kernel<PLANTED>, 1, 32); }
BUG(misaligned_vector) { run(misaligned_vector_kernel<PLANTED>, 1, 32); }
BUG(global_overrun) { run(global_overrun_kernel<PLANTED>, 1, 64); }
BUG(null_pointer) { run(null_pointer_kernel<PLANTED>, 1, 32); }
BUG(diverged_shuffle) { run(diverged_shuffle_kernel<PLANTED>, 1, 32); }
BUG(exit_before_shuffle) { run(exit_before_shuffle_kernel<PLANTED>, 1, 32); }
BUG(absent_lane) { run(absent_lane_kernel<PLANTED>, 1, 32); }
BUG(diverged_barrier) { run(diverged_barrier_kernel<PLANTED>, 1, PLANTED ? 64 : 32); }
BUG(deadlock) { run(deadlock_kernel<PLANTED>, 1, 64); }
BUG(barrier_count) { run(barrier_count_kernel<PLANTED>, 1, 64); }
BUG(unwritten_shared) { run(unwritten_shared_kernel<PLANTED>, 1, 32); }
BUG(half_warp) { run(half_warp_kernel<PLANTED>, 1, 32); }
BUG(blocks_race) { run(blocks_race_kernel<PLANTED>, 2, 32); }
BUG(threads_race) { run(threads_race_kernel<PLANTED>, 1, 32); }
BUG(unfenced_blocks) { run(unfenced_blocks_kernel<PLANTED>, 3, 32); }

template <bool PLANTED>
__global__ void dynamic_limit_kernel(uint32_t* out) {
  GPUDL_DYNAMIC_SHARED(bytes);
  bytes[threadIdx.x] = 1;
  out[threadIdx.x] = bytes[threadIdx.x];
}

BUG(dynamic_limit) {
  Buffer<uint32_t> out(32);
  launch(dynamic_limit_kernel<PLANTED>, 1, 32, 232448 + PLANTED, out.data());
}

}  // namespace
