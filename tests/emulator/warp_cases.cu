// Threads, warps, barriers, atomics, cp.async: each primitive against a plain loop.
#include <algorithm>
#include <numeric>

#include "harness.h"

using namespace gpudl;
using harness::Buffer;
using harness::expect_equal;

namespace {

constexpr unsigned ALL = 0xffffffffu;

__global__ void indices_kernel(int* out) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  out[block * threads + thread] = static_cast<int>(block * 1000 + threadIdx.x + threadIdx.y * 10 + threadIdx.z * 100);
}

CASE(indices) {
  Buffer<int> out(3 * 2 * 2 * (4 * 3 * 2), -1);
  launch(indices_kernel, dim3(3, 2, 2), dim3(4, 3, 2), 0, out.data());
  std::vector<int> expected;
  for (int block = 0; block < 12; ++block)
    for (int z = 0; z < 2; ++z)
      for (int y = 0; y < 3; ++y)
        for (int x = 0; x < 4; ++x) expected.push_back(block * 1000 + x + y * 10 + z * 100);
  expect_equal(out.get(), expected);
}

CASE(empty_grid) {  // as for an empty tensor; nothing runs
  Buffer<int> out(1, -1);
  launch(indices_kernel, dim3(0, 2, 2), dim3(4, 3, 2), 0, out.data());
  expect_equal(out.get(), {-1});
}

__global__ void shuffle_kernel(int* out) {
  const int lane = threadIdx.x;
  out[lane] = __shfl_xor_sync(ALL, lane, 5);
  out[32 + lane] = __shfl_down_sync(ALL, lane, 3);
  out[64 + lane] = __shfl_up_sync(ALL, lane, 3);
  out[96 + lane] = __shfl_sync(ALL, lane, 7);
  out[128 + lane] = __shfl_down_sync(ALL, lane, 3, 8);
  out[160 + lane] = __shfl_up_sync(ALL, lane, 3, 8);
  out[192 + lane] = __shfl_sync(ALL, lane, 9, 8);
  out[224 + lane] = __shfl_xor_sync(ALL, lane, 12, 8);
  out[256 + lane] = static_cast<int>(__shfl_xor_sync(ALL, 0.5f * lane, 1) * 2);
}

CASE(shuffles) {
  Buffer<int> out(9 * 32);
  launch(shuffle_kernel, 1, 32, 0, out.data());
  std::vector<int> expected;
  for (int l = 0; l < 32; ++l) expected.push_back(l ^ 5);
  for (int l = 0; l < 32; ++l) expected.push_back(l + 3 < 32 ? l + 3 : l);
  for (int l = 0; l < 32; ++l) expected.push_back(l >= 3 ? l - 3 : l);
  for (int l = 0; l < 32; ++l) expected.push_back(7);
  for (int l = 0; l < 32; ++l) expected.push_back(l % 8 + 3 < 8 ? l + 3 : l);
  for (int l = 0; l < 32; ++l) expected.push_back(l % 8 >= 3 ? l - 3 : l);
  for (int l = 0; l < 32; ++l) expected.push_back(l / 8 * 8 + 1);
  for (int l = 0; l < 32; ++l) expected.push_back((l ^ 12) <= (l | 7) ? l ^ 12 : l);
  for (int l = 0; l < 32; ++l) expected.push_back(l ^ 1);
  expect_equal(out.get(), expected);
}

__global__ void half_warps_kernel(int* out) {  // the halves diverge and shuffle a different number of times
  const int lane = threadIdx.x;
  const unsigned mask = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  int sum = lane;
  if (lane < 16) {
    for (int step = 8; step > 0; step /= 2) sum += __shfl_xor_sync(mask, sum, step);
  } else {
    sum = __shfl_xor_sync(mask, sum, 1);
    __syncwarp(mask);
  }
  out[lane] = sum;
}

CASE(half_warps) {
  Buffer<int> out(32);
  launch(half_warps_kernel, 1, 32, 0, out.data());
  std::vector<int> expected;
  for (int l = 0; l < 32; ++l) expected.push_back(l < 16 ? 120 : l ^ 1);
  expect_equal(out.get(), expected);
}

__global__ void vote_kernel(int* out) {
  const int thread = threadIdx.x;
  const int votes[] = {static_cast<int>(__ballot_sync(ALL, thread % 3 == 0)),
                       __any_sync(ALL, thread == 70),
                       __all_sync(ALL, thread < 64),
                       __syncthreads_count(thread % 5 == 0),
                       __syncthreads_or(thread == 9),
                       __syncthreads_and(thread != 9),
                       __syncthreads_count(1)};
  for (int i = 0; i < 7; ++i) out[i * 96 + thread] = votes[i];
}

CASE(votes) {
  Buffer<int> out(7 * 96);
  launch(vote_kernel, 1, 96, 0, out.data());
  std::vector<int> expected;
  for (int t = 0; t < 96; ++t) {
    unsigned ballot = 0;
    for (int l = 0; l < 32; ++l) ballot |= static_cast<unsigned>((t / 32 * 32 + l) % 3 == 0) << l;
    expected.push_back(static_cast<int>(ballot));
  }
  for (int t = 0; t < 96; ++t) expected.push_back(t >= 64);
  for (int t = 0; t < 96; ++t) expected.push_back(t < 64);
  for (const int same : {20, 1, 0, 96}) expected.insert(expected.end(), 96, same);
  expect_equal(out.get(), expected);
}

__global__ void named_barrier_kernel(int* out) {  // two pairs of warps, each with its own barrier
  GPUDL_SHARED(int, sum, [2]);
  const int half = threadIdx.x / 64, thread = threadIdx.x % 64;
  if (thread == 0) sum[half] = 0;
  device::named_barrier_sync(1 + half, 64);
  for (int i = 0; i < 3 + half * 2; ++i) {
    if (thread == i * 7) sum[half] += i;
    device::named_barrier_sync(1 + half, 64);
  }
  if (thread == 63) out[half] = sum[half];
}

CASE(named_barriers) {
  Buffer<int> out(2);
  launch(named_barrier_kernel, 1, 128, 0, out.data());
  expect_equal(out.get(), {3, 10});
}

__global__ void producer_consumer_kernel(int* out, int rounds) {  // one warp fills a slot, another empties it
  GPUDL_SHARED(int, slot, [32]);
  const int lane = threadIdx.x % 32;
  int sum = 0;
  for (int i = 0; i < rounds; ++i) {
    if (threadIdx.x < 32) {
      if (i > 0) device::named_barrier_sync(2, 64);  // the slot is empty
      slot[lane] = i * lane;
      device::named_barrier_arrive(1, 64);  // the slot is full
    } else {
      device::named_barrier_sync(1, 64);
      sum += slot[31 - lane];
      if (i + 1 < rounds) device::named_barrier_arrive(2, 64);
    }
  }
  if (threadIdx.x >= 32) out[lane] = sum;
}

CASE(producer_consumer) {
  Buffer<int> out(32);
  launch(producer_consumer_kernel, 1, 64, 0, out.data(), 5);
  std::vector<int> expected;
  for (int l = 0; l < 32; ++l) expected.push_back(10 * (31 - l));
  expect_equal(out.get(), expected);
}

__global__ void early_exit_kernel(int* out, int n) {  // threads without an element exit before the barrier
  GPUDL_SHARED(int, values, [64]);
  if (static_cast<int>(threadIdx.x) >= n) return;
  values[threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = values[n - 1 - threadIdx.x];
}

CASE(early_exit) {
  Buffer<int> out(40);
  launch(early_exit_kernel, 1, 64, 0, out.data(), 40);
  std::vector<int> expected(40);
  std::iota(expected.rbegin(), expected.rend(), 0);
  expect_equal(out.get(), expected);
}

__global__ void histogram_kernel(const int* x, int n, int* bins) {
  GPUDL_SHARED(int, local, [8]);
  if (threadIdx.x < 8) local[threadIdx.x] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&local[x[i]], 1);
  __syncthreads();
  if (threadIdx.x < 8) atomicAdd(&bins[threadIdx.x], local[threadIdx.x]);
}

CASE(histogram) {
  std::vector<int> x(1000), expected(8);
  for (int i = 0; i < 1000; ++i) ++expected[x[i] = i * i % 8];
  Buffer<int> input(x), bins(8);
  launch(histogram_kernel, 3, 64, 0, input.data(), 1000, bins.data());
  expect_equal(bins.get(), expected);
}

// Each block sums a slice; the last block to finish adds up the sums in order.
__global__ void last_block_sum_kernel(const float* x, int n, float* partial, unsigned* finished, float* sum) {
  GPUDL_SHARED(int, is_last, [1]);
  if (threadIdx.x == 0) {
    float mine = 0;
    for (int i = blockIdx.x; i < n; i += gridDim.x) mine += x[i];
    partial[blockIdx.x] = mine;
    __threadfence();
    is_last[0] = atomicAdd(finished, 1u) == gridDim.x - 1;
  }
  __syncthreads();
  if (is_last[0] && threadIdx.x == 0) {
    __threadfence();
    float total = 0;
    for (unsigned block = 0; block < gridDim.x; ++block) total += partial[block];
    sum[0] = total;
  }
}

CASE(last_block_sum) {
  const std::vector<float> x = harness::whole_numbers(500, 1);
  Buffer<float> input(x), partial(7), sum(1);
  Buffer<unsigned> finished(1);
  launch(last_block_sum_kernel, 7, 32, 0, input.data(), 500, partial.data(), finished.data(), sum.data());
  expect_equal(sum.get(), {std::accumulate(x.begin(), x.end(), 0.0f)});
}

__global__ void narrow_kernel(bool* out) {  // threads write adjacent bytes, then words over them
  GPUDL_SHARED(unsigned char, bytes, [64]);
  bytes[threadIdx.x] = static_cast<unsigned char>(threadIdx.x);
  __syncthreads();
  if (threadIdx.x < 16) reinterpret_cast<unsigned*>(bytes)[threadIdx.x] += 0x01010101u;
  __syncthreads();
  out[threadIdx.x] = bytes[63 - threadIdx.x] == 64 - threadIdx.x;
}

CASE(narrow_accesses) {
  Buffer<unsigned char> out(64);
  launch(narrow_kernel, 1, 64, 0, reinterpret_cast<bool*>(out.data()));
  expect_equal(out.get(), std::vector<unsigned char>(64, 1));
}

template <int BYTES>
__global__ void copy_kernel(const unsigned char* x, unsigned char* y, int last) {
#if GPUDL_HAS_SM80
  GPUDL_DYNAMIC_SHARED(bytes);
  const int at = threadIdx.x * BYTES;
  // The copy of the last thread is shorter; the rest is filled with zeros.
  const int wanted = threadIdx.x == blockDim.x - 1 ? last : BYTES;
  device::cp_async<BYTES>(device::shared_address(bytes + at), x + at, wanted);
  device::cp_async_commit();
  device::cp_async_wait<0>();
  __syncthreads();
  const int end = blockDim.x * BYTES;
  for (int i = 0; i < BYTES; ++i) y[at + i] = bytes[end - 1 - at - i];  // bytes of another thread
#endif
}

template <int BYTES>
void check_copy() {
  const int size = 40 * BYTES, last = BYTES - 3;
  std::vector<unsigned char> x(size);
  std::iota(x.begin(), x.end(), static_cast<unsigned char>(1));
  Buffer<unsigned char> input(x), output(size);
  launch(copy_kernel<BYTES>, 1, 40, size, input.data(), output.data(), last);
  std::fill(x.end() - (BYTES - last), x.end(), static_cast<unsigned char>(0));
  std::reverse(x.begin(), x.end());
  expect_equal(output.get(), x);
}

CASE(async_copies) {
  check_copy<4>();
  check_copy<8>();
  check_copy<16>();
}

__global__ void words_kernel(const float* x, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const float a = x[i];
  const float words[] = {__fadd_rn(a, 0.1f),
                         __fmul_rn(a, 0.3f),
                         __fdiv_rn(a, 3.0f),
                         __fsqrt_rn(fabsf(a)),
                         __fmaf_rn(a, a, -0.7f),
                         __uint_as_float(__float_as_uint(a) ^ 1u),
                         static_cast<float>(__float2int_rn(a)),
                         device::to_float(device::to_bfloat16(a)),
                         __uint_as_float(device::to_tf32(a)),
                         __uint_as_float(device::truncate_tf32(a)),
                         static_cast<float>(__umulhi(__float_as_uint(a), 0xD2511F53u) >> 8),
                         static_cast<float>(__popc(__float_as_uint(a)) + __clz(__float_as_int(a))),
                         static_cast<float>(__brev(static_cast<unsigned>(i)) >> 8),
                         static_cast<float>(min(i, 7) + max(i, 9))};
  for (int w = 0; w < 14; ++w) y[w * n + i] = words[w];
}

CASE(words) {  // bits that every device must agree on
  std::vector<float> x;
  for (int i = 0; i < 100; ++i) x.push_back(static_cast<float>(i - 50) * 1.2345e-1f * (i % 7 == 0 ? 1e20f : 1.0f));
  x[3] = 1.00390625f;  // halfway between two bfloat16 numbers
  x[4] = 1.01171875f;  // halfway, with an odd neighbour below
  x[5] = 1.00048828f;  // halfway between two tf32 numbers
  Buffer<float> input(x), output(1400);
  launch(words_kernel, 2, 64, 0, input.data(), output.data(), 100);
  const std::vector<float> y = output.get();
  std::vector<float> expected;
  const auto bits = [](float v) { return device::bits_of(v); };
  for (const float a : x) expected.push_back(static_cast<float>(a + static_cast<double>(0.1f)));
  for (const float a : x) expected.push_back(static_cast<float>(a * static_cast<double>(0.3f)));
  for (const float a : x) expected.push_back(static_cast<float>(a / 3.0));
  for (const float a : x) expected.push_back(static_cast<float>(std::sqrt(std::fabs(static_cast<double>(a)))));
  for (const float a : x) expected.push_back(std::fma(a, a, -0.7f));
  for (const float a : x) expected.push_back(device::float_of(bits(a) ^ 1u));
  for (const float a : x) {
    const double nearest = std::nearbyint(static_cast<double>(a));
    expected.push_back(static_cast<float>(static_cast<int>(std::clamp(nearest, -2147483648.0, 2147483647.0))));
  }
  for (const float a : x) {
    const uint32_t low = bits(a) & 0xffffu, high = bits(a) >> 16;
    expected.push_back(device::float_of((high + (low > 0x8000u || (low == 0x8000u && high % 2 == 1))) << 16));
  }
  for (const float a : x) expected.push_back(device::float_of((bits(a) >> 13 << 13) + (bits(a) & 0x1000u) * 2));
  for (const float a : x) expected.push_back(device::float_of(bits(a) >> 13 << 13));
  for (const float a : x) expected.push_back(static_cast<float>((uint64_t{bits(a)} * 0xD2511F53u) >> 40));
  for (const float a : x) {
    int ones = 0, zeros = 0;
    for (int b = 0; b < 32; ++b) ones += bits(a) >> b & 1;
    for (int b = 31; b >= 0 && !(bits(a) >> b & 1); --b) ++zeros;
    expected.push_back(static_cast<float>(ones + zeros));
  }
  for (int i = 0; i < 100; ++i) {
    unsigned reversed = 0;
    for (int b = 0; b < 32; ++b) reversed = reversed << 1 | (static_cast<unsigned>(i) >> b & 1);
    expected.push_back(static_cast<float>(reversed >> 8));
  }
  for (int i = 0; i < 100; ++i) expected.push_back(static_cast<float>(std::min(i, 7) + std::max(i, 9)));
  expect_equal(y, expected);
}

}  // namespace
