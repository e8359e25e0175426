// Matrix products of bfloat16 on Hopper (sm_90a): TMA brings tiles to shared memory, wgmma multiplies them from there.
#pragma once
#include "platform/device.h"
#include "prim/gemm_grid.h"

namespace gpudl::prim {

// One warp loads, CONSUMERS warpgroups of four warps multiply 64 x BN each. A stage holds a tile of a, then one of b.
struct WgmmaTile {
  static constexpr int BM = 128, BN = 128, BK = 64, STAGES = 4, CONSUMERS = BM / 64;
  static constexpr int CONSUMER_WARPS = CONSUMERS * 4, THREADS = CONSUMER_WARPS * 32 + 32;
  static constexpr int BOX = 64 * BK * 2;  // bytes of 64 rows of K, or of K rows of 64
  static constexpr int A_BYTES = BM / 64 * BOX, B_BYTES = BN / 64 * BOX, STAGE_BYTES = A_BYTES + B_BYTES;
};

#if GPUDL_HAS_SM90A

// Both forms of an operand lie in shared memory as boxes of 128-byte rows with 128-byte swizzle: 64 values of k by
// EXTENT rows where k is the fast axis, else 64 rows by BK values of k, box after box.
template <int EXTENT, bool K_FAST>
struct WgmmaOperand {
  static GPUDL_DEVICE void load(uint32_t tile, const device::TensorMap& map, int first, int k, int batch,
                                uint32_t mbarrier) {
    if constexpr (K_FAST) {
      device::tma_load_3d(tile, &map, k, first, batch, mbarrier);
    } else {
#pragma unroll
      for (int i = 0; i < EXTENT / 64; ++i)
        device::tma_load_3d(tile + i * WgmmaTile::BOX, &map, first + i * 64, k, batch, mbarrier);
    }
  }
  // Of the 16 values of k from `k` on, beginning with box `box` of 64 rows.
  static GPUDL_DEVICE uint64_t descriptor(uint32_t tile, int box, int k) {
    const uint32_t start = tile + box * WgmmaTile::BOX;
    if constexpr (K_FAST) return device::wgmma_descriptor_k_major_128b(start + k * 2);
    else return device::wgmma_descriptor_mn_major_128b(start + k * 128, WgmmaTile::BOX);
  }
};

#endif

// Grid: GemmGrid. A ring of stages: `full` completes when both tiles have come, `empty` when all consumer warps have
// read them. Elements past the edges come as zeros. One batch coordinate serves all where the map has one matrix.
template <bool A_K_FAST, bool B_K_FAST, class E>
__global__ void __launch_bounds__(WgmmaTile::THREADS)
    gemm_wgmma_kernel(Gemm<bfloat16, E> g, GemmGrid grid, const __grid_constant__ device::TensorMap a_map,
                      const __grid_constant__ device::TensorMap b_map) {
#if GPUDL_HAS_SM90A
  using Tile = WgmmaTile;
  using A = WgmmaOperand<Tile::BM, A_K_FAST>;
  using B = WgmmaOperand<Tile::BN, B_K_FAST>;
  GPUDL_DYNAMIC_SHARED(shared);
  GPUDL_SHARED(uint64_t, barriers, [2 * Tile::STAGES]);
  const GemmBlock block = gemm_block(grid, g.k, Tile::BM, Tile::BN);
  const int tiles = (block.k_end - block.k_begin + Tile::BK - 1) / Tile::BK;
  const uint32_t stages = device::shared_address(shared), first_barrier = device::shared_address(barriers);
  const auto full = [&](int s) { return first_barrier + s * 8; };
  const auto empty = [&](int s) { return first_barrier + (Tile::STAGES + s) * 8; };
  if (threadIdx.x == 0) {
    for (int s = 0; s < Tile::STAGES; ++s) {
      device::mbarrier_init(full(s), 1);
      device::mbarrier_init(empty(s), Tile::CONSUMER_WARPS);
    }
    device::mbarrier_fence_init();
  }
  __syncthreads();

  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  if (warp == Tile::CONSUMER_WARPS) {
    if (lane != 0) return;
    const int a_batch = g.a.batch_stride == 0 ? 0 : block.batch, b_batch = g.b.batch_stride == 0 ? 0 : block.batch;
    for (int t = 0; t < tiles; ++t) {
      const int s = t % Tile::STAGES, k = block.k_begin + t * Tile::BK;
      device::mbarrier_wait_parity(empty(s), (t / Tile::STAGES & 1) ^ 1);  // passes at once in the first lap
      device::mbarrier_arrive_expect_tx(full(s), Tile::STAGE_BYTES);
      A::load(stages + s * Tile::STAGE_BYTES, a_map, block.row, k, a_batch, full(s));
      B::load(stages + s * Tile::STAGE_BYTES + Tile::A_BYTES, b_map, block.column, k, b_batch, full(s));
    }
    return;
  }

  const int group = warp / 4;
  float sum[Tile::BN / 2] = {};
  for (int t = 0; t < tiles; ++t) {
    const uint32_t a_tile = stages + t % Tile::STAGES * Tile::STAGE_BYTES, b_tile = a_tile + Tile::A_BYTES;
    device::mbarrier_wait_parity(full(t % Tile::STAGES), t / Tile::STAGES & 1);
    device::wgmma_fence();
#pragma unroll
    for (int k = 0; k < Tile::BK; k += 16)
      device::wgmma_m64n128k16_bf16<!A_K_FAST, !B_K_FAST>(sum, A::descriptor(a_tile, group, k),
                                                          B::descriptor(b_tile, 0, k), 1);
    device::wgmma_commit();
    device::wgmma_wait<1>();  // the products of the stage before are done: give it back
    if (t > 0 && lane == 0) device::mbarrier_arrive(empty((t - 1) % Tile::STAGES));
  }
  device::wgmma_wait<0>();
#pragma unroll
  for (int i = 0; i < Tile::BN / 2; i += 4)
    gemm_store_fragment(g, grid, block, block.row + warp * 16, block.column + i / 4 * 8,
                        {sum[i], sum[i + 1], sum[i + 2], sum[i + 3]});
#endif
}

// A map of boxes of 64 by `lines` elements over the stored matrices.
inline device::TensorMap wgmma_map(const GemmMatrix<const bfloat16>& x, int rows, int columns, int batch, int lines) {
  const bool shared = batch == 1 || x.batch_stride == 0;
  const int64_t extent[3] = {columns, rows, shared ? 1 : batch};
  const int64_t stride[3] = {1, x.row_stride, shared ? x.row_stride * rows : x.batch_stride};
  const int box[3] = {64, lines, 1};
  return device::make_tensor_map(x.data, extent, stride, box, device::Swizzle::bytes128);
}

template <bool A_K_FAST, bool B_K_FAST, class E>
void gemm_wgmma_run(const Gemm<bfloat16, E>& g) {
  using Tile = WgmmaTile;
  const device::TensorMap a =
      wgmma_map(g.a, A_K_FAST ? g.m : g.k, A_K_FAST ? g.k : g.m, g.batch, A_K_FAST ? Tile::BM : Tile::BK);
  const device::TensorMap b =
      wgmma_map(g.b, B_K_FAST ? g.n : g.k, B_K_FAST ? g.k : g.n, g.batch, B_K_FAST ? Tile::BN : Tile::BK);
  gemm_launch(gemm_wgmma_kernel<A_K_FAST, B_K_FAST, E>, g, gemm_grid(g, Tile::BM, Tile::BN, Tile::BK), Tile::THREADS,
              Tile::STAGES * Tile::STAGE_BYTES, a, b);
}

template <class E>
void gemm_wgmma_with(const Gemm<bfloat16, E>& g) {
  if (g.a.transposed) g.b.transposed ? gemm_wgmma_run<false, true>(g) : gemm_wgmma_run<false, false>(g);
  else g.b.transposed ? gemm_wgmma_run<true, true>(g) : gemm_wgmma_run<true, false>(g);
}

}  // namespace gpudl::prim
