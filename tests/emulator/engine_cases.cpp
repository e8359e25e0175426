// The emulator itself: its controls, its statistics, and recovery from faulty kernels.
#include <thread>

#include "harness.h"

using namespace gpudl;
using harness::Buffer;
using harness::expect_equal;

namespace {

void expect(bool holds, const char* what) {
  if (!holds) throw std::runtime_error(std::string("WRONG: ") + what);
}

template <class Function>
std::string error_of(Function function) {
  try {
    function();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}

__global__ void count_kernel(int* out) {
  __syncthreads();
  out[threadIdx.x] = __shfl_xor_sync(~0u, static_cast<int>(threadIdx.x), 1);
}

CASE(statistics) {
  Buffer<int> out(64);
  emulator::reset_statistics();
  launch(count_kernel, 3, 64, 0, out.data());
  const emulator::Statistics counted = emulator::statistics();
  expect(counted.launches == 1 && counted.blocks == 3, "launches and blocks");
  expect(counted.collectives == 3 * 2, "one shuffle per warp");
  expect(counted.switches >= 3 * 64, "switches");
}

__global__ void order_kernel(int* out, int* next) {
  const int thread = threadIdx.x;
  __syncthreads();
  out[thread] = atomicAdd(next, 1);
}

CASE(schedules) {  // a seed repeats its run; another seed gives another run
  const auto order = [](uint64_t seed) {
    emulator::set_schedule(seed);
    Buffer<int> out(128), next(1);
    launch(order_kernel, 1, 128, 0, out.data(), next.data());
    return out.get();
  };
  std::vector<int> in_order;
  for (int i = 0; i < 128; ++i) in_order.push_back(i);
  expect(order(0) == in_order, "seed 0 is in order");
  for (const int seed : {1, 2}) {
    expect(order(seed) == order(seed), "a seed repeats");
    expect(order(seed) != order(0) && order(seed) != order(seed + 2), "seeds differ");
  }
}

__global__ void unwaited_kernel(const float4* x, float4* y) {
  GPUDL_SHARED(float4, tile, [32]);
  device::cp_async<16>(device::shared_address(&tile[threadIdx.x]), &x[threadIdx.x]);
  device::cp_async_commit();
  y[threadIdx.x] = tile[threadIdx.x];  // before the wait
  device::cp_async_wait<0>();
}

CASE(laziness) {  // copies that complete at once hide a missing wait; late copies do not
  for (const bool lazy : {true, false}) {
    emulator::set_lazy(lazy);
    Buffer<float> x(128, 1.0f), y(128);
    launch(unwaited_kernel, 1, 32, 0, reinterpret_cast<const float4*>(x.data()), reinterpret_cast<float4*>(y.data()));
    expect((y.get() == x.get()) == !lazy, lazy ? "late copies show" : "early copies hide");
  }
}

__global__ void faulty_kernel(int* out, int fault) {
  GPUDL_DYNAMIC_SHARED(bytes);
  __syncthreads();
  if (threadIdx.x == 33) {
    if (fault == 0) throw std::runtime_error("thrown");
    if (fault == 1) out[0] = static_cast<int>(bytes[0]) / (out[1] - 1);
    if (fault == 2) *reinterpret_cast<volatile int*>(out[1] - 1) = 1;
  }
  __syncthreads();
  out[threadIdx.x] = 7;
}

CASE(recovery) {  // after any failure the next launch works
  const char* reports[] = {"thrown", "division by zero", "null pointer"};
  for (int fault = 0; fault < 3; ++fault) {
#if !defined(__x86_64__)
    if (fault == 1) continue;  // elsewhere the quotient is 0, as on a GPU
#endif
    const char* expected = reports[fault];
    Buffer<int> out(64, 1);
    const std::string error = error_of([&] { launch(faulty_kernel, 2, 64, 256, out.data(), fault); });
    expect(error.find(expected) != std::string::npos, error.c_str());
    launch(faulty_kernel, 2, 64, 256, out.data(), -1);
    expect_equal(out.get(), std::vector<int>(64, 7));
  }
}

__global__ void launching_kernel(int* out) { launch(count_kernel, 1, 64, 0, out); }

CASE(nested_launch) {
  Buffer<int> out(64);
  expect(error_of([&] { launch(launching_kernel, 1, 1, 0, out.data()); }).find("a kernel launched a kernel") !=
             std::string::npos,
         "a kernel must not launch kernels");
}

CASE(host_threads) {  // launches from several host threads take turns
  Buffer<int> a(64), b(64);
  const auto work = [](int* out) {
    for (int i = 0; i < 200; ++i) launch(count_kernel, 1, 64, 0, out);
  };
  std::thread first(work, a.data()), second(work, b.data());
  first.join();
  second.join();
  expect_equal(a.get(), b.get());
}

__global__ void small_kernel(float* out) {
  GPUDL_SHARED(float, tile, [1024]);
  tile[threadIdx.x] = 1;
  out[threadIdx.x] = tile[threadIdx.x];
}

CASE(shared_limit) {
  Buffer<float> out(32);
  emulator::set_shared_limit(4000);
  expect(error_of([&] {
           launch(small_kernel, 1, 32, 0, out.data());
         }).find("'tile' brings the block's shared memory to") != std::string::npos,
         "the limit holds");
}

CASE(bad_extents) {
  Buffer<int> out(64);
  expect(error_of([&] { launch(count_kernel, 1, 1025, 0, out.data()); }).find("1 to 1024") != std::string::npos,
         "blocks have at most 1024 threads");
  expect(
      error_of([&] { launch(count_kernel, dim3(1, 65536), 32, 0, out.data()); }).find("a grid of") != std::string::npos,
      "grids have limits");
}

}  // namespace
