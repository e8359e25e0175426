// Planted bugs with clusters, and the same kernels without them.
#include "harness.h"

using namespace gpudl;
using device::Swizzle;
using device::TensorMap;
using harness::Buffer;
using harness::expect_equal;
using harness::whole_numbers;

namespace {

enum class ClusterMistake { none, not_met_before, not_met_after, own_address, absent_rank, arrived_twice };

// Every block reads the numbers of the other.
template <ClusterMistake MISTAKE>
__global__ void take_kernel(uint32_t* out) {
#if GPUDL_HAS_SM90A
  GPUDL_SHARED(uint32_t, slots, [32]);
  const unsigned other = device::cluster_rank() ^ 1;
  slots[threadIdx.x] = blockIdx.x * 32 + threadIdx.x;
  if (MISTAKE != ClusterMistake::not_met_before) device::cluster_sync();
  if (MISTAKE == ClusterMistake::arrived_twice) {
    device::cluster_arrive();
    device::cluster_arrive();  // planted: arrived_twice
  }
  const uint32_t mine = device::shared_address(&slots[threadIdx.x]);
  const uint32_t there = device::cluster_address(mine, MISTAKE == ClusterMistake::absent_rank ? 2 : other);
  out[blockIdx.x * 32 + threadIdx.x] =
      device::cluster_load(MISTAKE == ClusterMistake::own_address ? mine : there);  // planted: cluster_read
  if (MISTAKE != ClusterMistake::not_met_after) device::cluster_sync();
#endif
}

template <ClusterMistake MISTAKE>
void check_take() {
  Buffer<uint32_t> out(64);
  launch_cluster(take_kernel<MISTAKE>, 2, 2, 32, 0, out.data());
  std::vector<uint32_t> expected;
  for (uint32_t i = 0; i < 64; ++i) expected.push_back(i ^ 32);
  expect_equal(out.get(), expected);
}

CASE(cluster_clean) { check_take<ClusterMistake::none>(); }
CASE(not_met_before) { check_take<ClusterMistake::not_met_before>(); }
CASE(not_met_after) { check_take<ClusterMistake::not_met_after>(); }
CASE(own_address) { check_take<ClusterMistake::own_address>(); }
CASE(absent_rank) { check_take<ClusterMistake::absent_rank>(); }
CASE(arrived_twice) { check_take<ClusterMistake::arrived_twice>(); }

// Block 0 loads a tile for both blocks, twice. Before the second load, both must have read the first tile.
template <bool PLANTED>
__global__ void reloaded_early_kernel(const __grid_constant__ TensorMap map, float* out) {
#if GPUDL_HAS_SM90A
  GPUDL_DYNAMIC_SHARED(bytes);
  GPUDL_SHARED(uint64_t, barriers, [2]);
  const uint32_t full = device::shared_address(&barriers[0]), empty = device::shared_address(&barriers[1]);
  const unsigned rank = device::cluster_rank();
  if (threadIdx.x == 0) {
    device::mbarrier_init(full, 1);
    device::mbarrier_init(empty, PLANTED ? 1 : 2);
    device::mbarrier_fence_init();
  }
  device::cluster_sync();
  const float* tile = reinterpret_cast<const float*>(bytes);
  for (int step = 0; step < 2; ++step) {
    if (threadIdx.x == 0) {
      device::mbarrier_arrive_expect_tx(full, 128);
      if (rank == 0) {
        if (step > 0) device::mbarrier_wait_parity(empty, 0);
        device::tma_load_2d_multicast(device::shared_address(bytes), &map, 0, step, full,
                                      3);  // planted: reloaded_early
      }
    }
    __syncwarp();
    device::mbarrier_wait_parity(full, step);
    out[(blockIdx.x * 2 + step) * 32 + threadIdx.x] = tile[threadIdx.x];
    __syncwarp();
    if (threadIdx.x == 0 && step == 0 && (!PLANTED || rank == 0))
      device::mbarrier_arrive_cluster(device::cluster_address(empty, 0));
  }
  device::cluster_sync();
#endif
}

BUG(reloaded_early) {
  const auto x = whole_numbers(64, 5);
  Buffer<float> input(x), out(128);
  const auto map =
      device::make_tensor_map(static_cast<const float*>(input.data()), {32, 2}, {1, 32}, {32, 1}, Swizzle::none);
  launch_cluster(reloaded_early_kernel<PLANTED>, 2, 2, 32, 128, map, out.data());
  std::vector<float> expected(x);
  expected.insert(expected.end(), x.begin(), x.end());
  expect_equal(out.get(), expected);
}

}  // namespace
