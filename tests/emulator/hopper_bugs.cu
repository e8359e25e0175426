// Planted bugs with mbarriers, TMA and wgmma, and the same kernels without them.
#include "harness.h"

using namespace gpudl;
using device::Swizzle;
using device::TensorMap;
using harness::Buffer;
using harness::expect_equal;
using harness::product;
using harness::transposed;
using harness::whole_numbers;

namespace {

enum class Mistake {
  none,
  released_early,      // a stage is released before the products that read it are complete
  ignored_full,        // consumers do not wait for a stage to be full
  ignored_empty,       // the producer does not wait for a stage to be empty
  lax_wait,            // consumers release a stage while a product reads it
  early_accumulator,   // the accumulator is read while a product writes it
  unfenced_registers,  // wgmma_fence is missing
  different_operands,  // threads of a warpgroup pass different descriptors
};

// c[64,64] = a[64,K] * b[64,K]^T: warp 4 loads tiles by TMA into a ring of stages, warps 0 to 3 multiply.
constexpr int TILE = 64, TILE_BYTES = TILE * TILE * 2, STAGES = 2;

template <Mistake MISTAKE>
__global__ void __launch_bounds__(160) ring_gemm_kernel(const __grid_constant__ TensorMap map_a,
                                                        const __grid_constant__ TensorMap map_b, float* c, int steps) {
#if GPUDL_HAS_SM90A
  GPUDL_DYNAMIC_SHARED(bytes);
  GPUDL_SHARED(uint64_t, barriers, [2 * STAGES]);
  const uint32_t tiles = device::shared_address(bytes);
  const auto full = [&](int stage) { return device::shared_address(&barriers[stage]); };
  const auto empty = [&](int stage) { return device::shared_address(&barriers[STAGES + stage]); };
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < STAGES; ++stage) {
      device::mbarrier_init(full(stage), 1);
      device::mbarrier_init(empty(stage), 128);
    }
    device::mbarrier_fence_init();
  }
  __syncthreads();
  if (threadIdx.x >= 128) {
    if (threadIdx.x != 128) return;
    for (int step = 0; step < steps; ++step) {
      const int stage = step % STAGES;
      const uint32_t tile = tiles + stage * 2 * TILE_BYTES;
      if (MISTAKE != Mistake::ignored_empty) device::mbarrier_wait_parity(empty(stage), (step / STAGES & 1) ^ 1);
      device::mbarrier_arrive_expect_tx(full(stage), 2 * TILE_BYTES);
      device::tma_load_2d(tile, &map_a, step * TILE, 0, full(stage));  // planted: ring_written
      device::tma_load_2d(tile + TILE_BYTES, &map_b, step * TILE, 0, full(stage));
    }
    return;
  }
  float d[32];
  const auto release = [&](int step) { device::mbarrier_arrive(empty(step % STAGES)); };
  for (int step = 0; step < steps; ++step) {
    const int stage = step % STAGES;
    const uint32_t tile = tiles + stage * 2 * TILE_BYTES;
    if (MISTAKE != Mistake::ignored_full) device::mbarrier_wait_parity(full(stage), step / STAGES & 1);
    if (MISTAKE != Mistake::unfenced_registers) device::wgmma_fence();
    for (int k = 0; k < 4; ++k) {
      const uint32_t at =
          tile + k * 32 + (MISTAKE == Mistake::different_operands && threadIdx.x == 3 && k == 1 ? 32 : 0);
      device::wgmma_m64n64k16_bf16(d, device::wgmma_descriptor_k_major_128b(at),  // planted: ring_read
                                   device::wgmma_descriptor_k_major_128b(tile + TILE_BYTES + k * 32),
                                   step > 0 || k > 0);
    }
    device::wgmma_commit();
    if (MISTAKE == Mistake::released_early) release(step);
    device::wgmma_wait<MISTAKE == Mistake::lax_wait ? 1 : 0>();
    if (MISTAKE != Mistake::released_early) release(step);
  }
  if (MISTAKE != Mistake::early_accumulator) device::wgmma_wait<0>();
  if (MISTAKE == Mistake::early_accumulator) {
    device::wgmma_fence();
    device::wgmma_m64n64k16_bf16(d, device::wgmma_descriptor_k_major_128b(tiles),
                                 device::wgmma_descriptor_k_major_128b(tiles), 0);
    device::wgmma_commit();
  }
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int i = 0; i < 32; ++i) c[(warp * 16 + lane / 4 + i / 2 % 2 * 8) * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2] = d[i];
  device::wgmma_wait<0>();
#endif
}

template <Mistake MISTAKE>
void check_ring_gemm() {
  constexpr int STEPS = 5, K = STEPS * TILE;
  const auto a = whole_numbers(64 * K, 1), b = whole_numbers(K * 64, 2);
  Buffer<bfloat16> a16(harness::to_bfloat16(a)), b16(harness::to_bfloat16(transposed(b, K, 64)));
  Buffer<float> c(64 * 64);
  const auto map = [&](const Buffer<bfloat16>& x) {
    return device::make_tensor_map(static_cast<const bfloat16*>(x.data()), {K, 64}, {1, K}, {TILE, TILE},
                                   Swizzle::bytes128);
  };
  launch(ring_gemm_kernel<MISTAKE>, 1, 160, STAGES * 2 * TILE_BYTES, map(a16), map(b16), c.data(), STEPS);
  expect_equal(c.get(), product(a, b, 64, 64, K));
}

CASE(ring_gemm_clean) { check_ring_gemm<Mistake::none>(); }
CASE(released_early) { check_ring_gemm<Mistake::released_early>(); }
CASE(ignored_full) { check_ring_gemm<Mistake::ignored_full>(); }
CASE(ignored_empty) { check_ring_gemm<Mistake::ignored_empty>(); }
CASE(lax_wait) { check_ring_gemm<Mistake::lax_wait>(); }
CASE(early_accumulator) { check_ring_gemm<Mistake::early_accumulator>(); }
CASE(unfenced_registers) { check_ring_gemm<Mistake::unfenced_registers>(); }
CASE(different_operands) { check_ring_gemm<Mistake::different_operands>(); }

enum class Misuse {
  none,
  uninitialised,
  too_many_arrivals,
  invisible_to_tma,
  overwritten,
  too_few_bytes,
  initialised_twice,
  parity,
  unordered
};

// One load of 128 bytes that all threads wait for.
template <Misuse MISUSE>
__global__ void mbarrier_kernel(const float* x, float* y) {
#if GPUDL_HAS_SM90A
  GPUDL_SHARED(float, tile, [32]);
  GPUDL_SHARED(uint64_t, barrier, [1]);
  const uint32_t mbarrier = device::shared_address(barrier);
  if (threadIdx.x == 0) {
    if (MISUSE != Misuse::uninitialised) device::mbarrier_init(mbarrier, 1);
    if (MISUSE == Misuse::initialised_twice) device::mbarrier_init(mbarrier, 1);  // planted: initialised_twice
    if (MISUSE != Misuse::invisible_to_tma) device::mbarrier_fence_init();
    if (MISUSE == Misuse::overwritten) barrier[0] = 0;
    const int bytes = MISUSE == Misuse::too_few_bytes ? 256 : 128;
    device::mbarrier_arrive_expect_tx(mbarrier, bytes);                      // planted: mbarrier_arrive
    device::tma_load_bytes(device::shared_address(tile), x, 128, mbarrier);  // planted: mbarrier_load
  }
  if (MISUSE != Misuse::unordered) __syncthreads();
  if (MISUSE == Misuse::too_many_arrivals && threadIdx.x == 1) {
    device::mbarrier_arrive(mbarrier);  // planted: too_many_arrivals
  }
  device::mbarrier_wait_parity(mbarrier, MISUSE == Misuse::parity ? 2 : 0);  // planted: mbarrier_wait
  y[threadIdx.x] = tile[threadIdx.x];
#endif
}

template <Misuse MISUSE>
void check_mbarrier() {
  const auto x = whole_numbers(32, 3);
  Buffer<float> input(x), output(32);
  launch(mbarrier_kernel<MISUSE>, 1, 32, 0, input.data(), output.data());
  expect_equal(output.get(), x);
}

CASE(mbarrier_clean) { check_mbarrier<Misuse::none>(); }
CASE(uninitialised_mbarrier) { check_mbarrier<Misuse::uninitialised>(); }
CASE(too_many_arrivals) { check_mbarrier<Misuse::too_many_arrivals>(); }
CASE(invisible_to_tma) { check_mbarrier<Misuse::invisible_to_tma>(); }
CASE(overwritten_mbarrier) { check_mbarrier<Misuse::overwritten>(); }
CASE(too_few_bytes) { check_mbarrier<Misuse::too_few_bytes>(); }
CASE(initialised_twice) { check_mbarrier<Misuse::initialised_twice>(); }
CASE(wrong_parity) { check_mbarrier<Misuse::parity>(); }
CASE(unordered_mbarrier) { check_mbarrier<Misuse::unordered>(); }

enum class StoreMistake { none, unfenced, reused_early, not_waited };

// Stores two tiles through one buffer in shared memory.
template <StoreMistake MISTAKE>
__global__ void store_kernel(const __grid_constant__ TensorMap map) {
#if GPUDL_HAS_SM90A
  GPUDL_DYNAMIC_SHARED(bytes);
  float* tile = reinterpret_cast<float*>(bytes);
  for (int i = 0; i < 2; ++i) {
    if (i > 0) {
      if (MISTAKE != StoreMistake::reused_early && threadIdx.x == 0) device::tma_store_wait_read<0>();
      __syncthreads();
    }
    for (int j = threadIdx.x; j < 256; j += blockDim.x) tile[j] = i * 1000.0f + j;  // planted: store_written
    if (MISTAKE != StoreMistake::unfenced) device::fence_async_shared();
    __syncthreads();
    if (threadIdx.x == 0) {
      device::tma_store_2d(&map, device::shared_address(bytes), 0, i * 8);  // planted: store_read
      device::tma_store_commit();
    }
  }
  if (MISTAKE != StoreMistake::not_waited && threadIdx.x == 0) device::tma_store_wait<0>();
#endif
}

template <StoreMistake MISTAKE>
void check_store() {
  Buffer<float> out(512);
  const auto map =
      device::make_tensor_map(static_cast<const float*>(out.data()), {32, 16}, {1, 32}, {32, 8}, Swizzle::none);
  launch(store_kernel<MISTAKE>, 1, 64, 1024, map);
  std::vector<float> expected;
  for (int i = 0; i < 512; ++i) expected.push_back(i / 256 * 1000.0f + i % 256);
  expect_equal(out.get(), expected);
}

CASE(store_clean) { check_store<StoreMistake::none>(); }
CASE(unfenced_store) { check_store<StoreMistake::unfenced>(); }
CASE(reused_early) { check_store<StoreMistake::reused_early>(); }
CASE(store_not_waited) { check_store<StoreMistake::not_waited>(); }

CASE(refused_tensor_map) {  // rows of 24 bytes
  Buffer<bfloat16> x(12 * 8);
  device::make_tensor_map(static_cast<const bfloat16*>(x.data()), {12, 8}, {1, 12}, {8, 8}, Swizzle::none);
}

CASE(refused_image_map) {  // an offset that does not fit into a byte
  Buffer<bfloat16> x(64 * 8 * 8);
  device::make_image_map(static_cast<const bfloat16*>(x.data()), {64, 8, 8, 1}, {1, 64, 512, 4096}, {-130, 0}, {0, 0},
                         {1, 1}, 64, 64, Swizzle::bytes128);
}

// A load that starts between two windows of the image.
template <bool PLANTED>
__global__ void between_windows_kernel(const __grid_constant__ TensorMap map) {
#if GPUDL_HAS_SM90A
  GPUDL_DYNAMIC_SHARED(bytes);
  GPUDL_SHARED(uint64_t, barrier, [1]);
  const uint32_t mbarrier = device::shared_address(barrier);
  device::mbarrier_init(mbarrier, 1);
  device::mbarrier_fence_init();
  device::mbarrier_arrive_expect_tx(mbarrier, 256);
  device::tma_load_image_4d(device::shared_address(bytes), &map, 0, PLANTED ? 1 : 2, 0, 0, 0, 0,  // planted: between
                            mbarrier);
  device::mbarrier_wait_parity(mbarrier, 0);
#endif
}

BUG(between_windows) {
  Buffer<float> x(8 * 8 * 8);
  const auto map = device::make_image_map(static_cast<const float*>(x.data()), {8, 8, 8, 1}, {1, 8, 64, 512}, {0, 0},
                                          {0, 0}, {2, 2}, 8, 8, Swizzle::none);
  launch(between_windows_kernel<PLANTED>, 1, 1, 256, map);
}

}  // namespace
