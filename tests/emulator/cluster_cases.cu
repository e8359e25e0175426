// Clusters (sm_90): barriers, distributed shared memory, multicast loads.
#include "harness.h"

using namespace gpudl;
using device::Swizzle;
using device::TensorMap;
using harness::Buffer;
using harness::expect_equal;
using harness::whole_numbers;

namespace {

// Every block reads the numbers of the next block in its cluster and writes them into the previous one.
__global__ void exchange_kernel(uint32_t* out) {
#if GPUDL_HAS_SM90A
  GPUDL_SHARED(uint32_t, mine, [32]);
  GPUDL_SHARED(uint32_t, received, [32]);
  const unsigned rank = device::cluster_rank(), size = device::cluster_size();
  const unsigned linear = blockIdx.x + blockIdx.y * gridDim.x;
  mine[threadIdx.x] = linear * 100 + threadIdx.x;
  device::cluster_sync();
  const uint32_t next = device::cluster_address(device::shared_address(&mine[31 - threadIdx.x]), (rank + 1) % size);
  const uint32_t before =
      device::cluster_address(device::shared_address(&received[threadIdx.x]), (rank + size - 1) % size);
  device::cluster_store(before, device::cluster_load(next));
  device::cluster_sync();
  out[linear * 32 + threadIdx.x] = received[threadIdx.x];
#endif
}

void check_exchange(dim3 grid, dim3 cluster) {
  const int blocks = static_cast<int>(grid.x * grid.y);
  Buffer<uint32_t> out(blocks * 32);
  launch_cluster(exchange_kernel, grid, cluster, 32, 0, out.data());
  std::vector<uint32_t> expected(blocks * 32);
  for (unsigned y = 0; y < grid.y; ++y)
    for (unsigned x = 0; x < grid.x; ++x)
      for (unsigned t = 0; t < 32; ++t) {  // from two blocks ahead
        const unsigned rank = x % cluster.x + y % cluster.y * cluster.x, size = cluster.x * cluster.y;
        const unsigned other = (rank + 2) % size;
        const unsigned from_x = x / cluster.x * cluster.x + other % cluster.x;
        const unsigned from_y = y / cluster.y * cluster.y + other / cluster.x;
        expected[(x + y * grid.x) * 32 + t] = (from_x + from_y * grid.x) * 100 + 31 - t;
      }
  expect_equal(out.get(), expected);
}

CASE(cluster_memory) {
  check_exchange(4, 2);
  check_exchange(dim3(2, 4), dim3(1, 2));
  check_exchange(dim3(4, 2), dim3(2, 2));
  check_exchange(2, 1);
}

// Two blocks share a tile of 16 rows: each loads half of it for both, step after step, into a ring of two stages.
// Consumers release a stage to both producers.
__global__ void multicast_kernel(const __grid_constant__ TensorMap map, float* out, int steps) {
#if GPUDL_HAS_SM90A
  constexpr int STAGES = 2, TILE = 16 * 32;
  GPUDL_DYNAMIC_SHARED(bytes);
  GPUDL_SHARED(uint64_t, barriers, [2 * STAGES]);
  const unsigned rank = device::cluster_rank();
  const auto full = [&](int s) { return device::shared_address(&barriers[s]); };
  const auto empty = [&](int s) { return device::shared_address(&barriers[STAGES + s]); };
  if (threadIdx.x == 0) {
    for (int s = 0; s < STAGES; ++s) {
      device::mbarrier_init(full(s), 1);
      device::mbarrier_init(empty(s), 2);
    }
    device::mbarrier_fence_init();
  }
  device::cluster_sync();
  if (threadIdx.x == 32) {
    for (int step = 0; step < steps; ++step) {
      const int s = step % STAGES;
      device::mbarrier_wait_parity(empty(s), (step / STAGES & 1) ^ 1);
      device::mbarrier_arrive_expect_tx(full(s), TILE * 4);
      const int row = static_cast<int>(rank) * 8;
      device::tma_load_2d_multicast(device::shared_address(bytes) + (s * TILE + row * 32) * 4, &map, 0, step * 16 + row,
                                    full(s), 3);
    }
  } else if (threadIdx.x < 32) {
    const float* tiles = reinterpret_cast<const float*>(bytes);
    for (int step = 0; step < steps; ++step) {
      const int s = step % STAGES;
      device::mbarrier_wait_parity(full(s), step / STAGES & 1);
      float sum = 0;
      for (int row = 0; row < 16; ++row) sum += tiles[s * TILE + row * 32 + threadIdx.x];
      out[(blockIdx.x * steps + step) * 32 + threadIdx.x] = sum;
      __syncwarp();
      if (threadIdx.x < 2) device::mbarrier_arrive_cluster(device::cluster_address(empty(s), threadIdx.x));
    }
  }
  __syncwarp();
  device::cluster_sync();  // the other block may still arrive on barriers of this one
#endif
}

CASE(multicast) {
  constexpr int STEPS = 5;
  const auto x = whole_numbers(STEPS * 16 * 32, 3);
  Buffer<float> input(x), out(2 * STEPS * 32);
  const auto map = device::make_tensor_map(static_cast<const float*>(input.data()), {32, STEPS * 16}, {1, 32}, {32, 8},
                                           Swizzle::none);
  launch_cluster(multicast_kernel, 2, 2, 64, 2 * 16 * 32 * 4, map, out.data(), STEPS);
  std::vector<float> expected(2 * STEPS * 32, 0.0f);
  for (size_t i = 0; i < expected.size(); ++i)
    for (int row = 0; row < 16; ++row) expected[i] += x[(i / 32 % STEPS * 16 + row) * 32 + i % 32];
  expect_equal(out.get(), expected);
}

}  // namespace
