// Matrix products on tensor cores by mma.sync (sm_80 and later): a ring of asynchronous copies brings tiles of the
// operands to shared memory, from which warps load their fragments. A policy defines the products and their precision:
// prim/gemm/gemm_mma_half.h, prim/gemm/gemm_mma_tf32.h, prim/gemm/gemm_mma_split.h.
#pragma once
#include "platform/device.h"
#include "prim/gemm/gemm_grid.h"

namespace gpudl::prim {

// A block computes BM x BN of c, a warp WM x WN of that, as WARP_TILES_M · WARP_TILES_N tiles of 16x8. BLOCKS: the
// fewest blocks that share a multiprocessor, which limits the registers.
template <int BM_, int BN_, int BK_, int WM_, int WN_, int BLOCKS_ = 1>
struct MmaTile {
  static constexpr int BM = BM_, BN = BN_, BK = BK_, WM = WM_, WN = WN_, BLOCKS = BLOCKS_, STAGES = 3;
  static constexpr int WARPS_M = BM / WM, WARPS_N = BN / WN, THREADS = WARPS_M * WARPS_N * 32;
  static constexpr int WARP_TILES_M = WM / 16, WARP_TILES_N = WN / 8;
};

// Loads tiles of an operand into shared memory, EXTENT rows of a (or columns of b) by BK, in the order of global
// memory. PAD offsets the lines so that the lanes that read a fragment access different banks.
template <class Operand, int EXTENT, int BK, int THREADS>
struct MmaLoader {
  using T = typename Operand::Element;
  static constexpr bool K_FAST = Operand::K_FAST;
  static constexpr int GROUP = 16 / sizeof(T);  // elements per copy
  static constexpr int LINES = K_FAST ? EXTENT : BK, LENGTH = K_FAST ? BK : EXTENT;
  static constexpr int PAD = sizeof(T) == 2 || !K_FAST ? 8 : 4;
  static constexpr int STRIDE = LENGTH + PAD;
  static constexpr int BYTES = LINES * STRIDE * static_cast<int>(sizeof(T));
  static constexpr int COPIES = LINES * LENGTH / GROUP / THREADS;
  static_assert(COPIES * GROUP * THREADS == LINES * LENGTH, "every thread makes the same number of copies");
  static_assert(THREADS % (LENGTH / GROUP) == 0, "a thread's groups are in one column");
  static constexpr int ROWS = K_FAST ? COPIES : 1;  // rows at which a thread's groups start

  Operand operand;
  bool aligned;
  int line, at;  // of the thread's first group; the next is THREADS / (LENGTH / GROUP) lines below
  typename Operand::Row row[ROWS];

  static constexpr int NEXT = THREADS / (LENGTH / GROUP);

  GPUDL_DEVICE MmaLoader(const Operand& from, bool is_aligned, int first, int batch)
      : operand(from), aligned(is_aligned) {
    line = static_cast<int>(threadIdx.x) / (LENGTH / GROUP);
    at = static_cast<int>(threadIdx.x) % (LENGTH / GROUP) * GROUP;
#pragma unroll
    for (int i = 0; i < ROWS; ++i) row[i] = operand.row(first + (K_FAST ? line + i * NEXT : at), batch);
  }

  // Elements past the edges become zero. Asynchronous if the alignment allows.
  GPUDL_DEVICE void load(T* tile, int k_begin, int k_end) const {
#pragma unroll
    for (int i = 0; i < COPIES; ++i) {
      const typename Operand::Row& from_row = row[K_FAST ? i : 0];
      const int to_line = line + i * NEXT, k = k_begin + (K_FAST ? at : to_line);
      T* to = tile + to_line * STRIDE + at;
      if (aligned) {
        int valid;
        const T* from = operand.group(from_row, k, k_end, valid);
        device::cp_async<16>(device::shared_address(to), valid > 0 ? from : operand.anywhere(),
                             valid * static_cast<int>(sizeof(T)));
      } else {
        copy_elements(to, from_row, k, k_end);
      }
    }
  }

  GPUDL_DEVICE void copy_elements(T* to, const typename Operand::Row& from_row, int k, int k_end) const {
#pragma unroll
    for (int i = 0; i < GROUP; ++i) {
      const T* from = operand.element(from_row, i, k, k_end);
      if constexpr (sizeof(T) == 4)
        device::cp_async<4>(device::shared_address(to + i), from != nullptr ? from : operand.anywhere(),
                            from != nullptr ? 4 : 0);
      else to[i] = from != nullptr ? *from : T{};
    }
  }
};

// A tile of c by plain float32 loops, for operands that a policy cannot represent.
template <class T, class E, class A, class B, class C>
GPUDL_DEVICE void gemm_plain_tile(const Gemm<T, E, A, B, C>& g, const GemmGrid& grid, const GemmBlock& block, int BM,
                                  int BN) {
  for (int i = static_cast<int>(threadIdx.x) * 4; i < BM * BN; i += static_cast<int>(blockDim.x) * 4) {
    const int row = block.row + i / BN, column = block.column + i % BN;
    const typename A::Row a_row = g.a.row(row, block.batch);
    float sum[4] = {};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const typename B::Row b_row = g.b.row(column + j, block.batch);
#pragma unroll 1
      for (int k = block.k_begin; k < block.k_end; ++k) {
        const T* a = g.a.element(a_row, 0, k, block.k_end);
        const T* b = g.b.element(b_row, 0, k, block.k_end);
        sum[j] += (a != nullptr ? as_float(*a) : 0.f) * (b != nullptr ? as_float(*b) : 0.f);
      }
    }
    gemm_store(g, grid, block, row, column, sum, 1);
  }
}

// Grid: GemmGrid. Block: Tile::THREADS. While a stage is multiplied, the next STAGES - 1 are being copied.
// Policy: multiply<A, B>(a_tile, b_tile) adds the products of a stage, from the warp's first row (column); finish()
// completes the sums and returns whether the tile must be computed with plain loops instead; sum[i][j] is the warp's
// 16x8 tile (i, j). Needs no alignment: unaligned operands are copied in smaller pieces. The shared memory stated below
// is the largest, that of operands with k as the fast axis.
// sass: gemm_mma_kernel dynamic=61440:MmaTile<128,128, dynamic=46080:MmaTile<128,64, dynamic=30720:MmaTile<64,64,
template <class Policy, class E, class A, class B, class C>
__global__ void __launch_bounds__(Policy::Tile::THREADS, Policy::Tile::BLOCKS)
    gemm_mma_kernel(Gemm<typename Policy::Element, E, A, B, C> g, GemmGrid grid, bool a_aligned, bool b_aligned) {
#if GPUDL_HAS_SM80
  using T = typename Policy::Element;
  using Tile = typename Policy::Tile;
  using ALoader = MmaLoader<A, Tile::BM, Tile::BK, Tile::THREADS>;
  using BLoader = MmaLoader<B, Tile::BN, Tile::BK, Tile::THREADS>;
  constexpr int STAGE = ALoader::BYTES + BLoader::BYTES;
  GPUDL_DYNAMIC_SHARED(shared);
  const GemmBlock block = gemm_block(grid, g.k, Tile::BM, Tile::BN);
  const ALoader a(g.a, a_aligned, block.row, block.batch);
  const BLoader b(g.b, b_aligned, block.column, block.batch);
  const auto a_stage = [&](int s) { return reinterpret_cast<T*>(shared + s % Tile::STAGES * STAGE); };
  const auto b_stage = [&](int s) { return a_stage(s) + ALoader::BYTES / static_cast<int>(sizeof(T)); };
  const int tiles = (block.k_end - block.k_begin + Tile::BK - 1) / Tile::BK;
  const auto load_stage = [&](int s) {
    const int k = block.k_begin + s * Tile::BK;
    if (s < tiles) {
      a.load(a_stage(s), k, block.k_end);
      b.load(b_stage(s), k, block.k_end);
    }
    device::cp_async_commit();
  };

  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_row = warp / Tile::WARPS_N * Tile::WM, warp_column = warp % Tile::WARPS_N * Tile::WN;
  Policy policy;
#pragma unroll
  for (int s = 0; s < Tile::STAGES - 1; ++s) load_stage(s);
  for (int s = 0; s < tiles; ++s) {
    device::cp_async_wait<Tile::STAGES - 2>();
    __syncthreads();  // stage s has arrived for all threads, and all have read stage s - 1, whose place is reused now
    load_stage(s + Tile::STAGES - 1);
    policy.template multiply<ALoader, BLoader>(a_stage(s) + warp_row * (A::K_FAST ? ALoader::STRIDE : 1),
                                               b_stage(s) + warp_column * (B::K_FAST ? BLoader::STRIDE : 1));
  }
  if (policy.finish()) return gemm_plain_tile(g, grid, block, Tile::BM, Tile::BN);
#pragma unroll
  for (int i = 0; i < Tile::WARP_TILES_M; ++i)
#pragma unroll
    for (int j = 0; j < Tile::WARP_TILES_N; ++j)
      gemm_store_fragment(g, grid, block, block.row + warp_row + i * 16, block.column + warp_column + j * 8,
                          policy.sum[i][j]);
#endif
}

// Operands: prim/gemm/gemm_operand.h.
template <class Policy, class E, class A, class B, class C>
void gemm_mma_run(const Gemm<typename Policy::Element, E, A, B, C>& g) {
  using Tile = typename Policy::Tile;
  constexpr int STAGE =
      MmaLoader<A, Tile::BM, Tile::BK, Tile::THREADS>::BYTES + MmaLoader<B, Tile::BN, Tile::BK, Tile::THREADS>::BYTES;
  gemm_launch(gemm_mma_kernel<Policy, E, A, B, C>, g, gemm_grid(g, Tile::BM, Tile::BN, Tile::BK), Tile::THREADS,
              Tile::STAGES * STAGE, g.a.aligned(), g.b.aligned());
}

// Whether a grid of small tiles finishes before one of large tiles. The blocks of a multiprocessor share its tensor
// cores, so time is proportional to the work of the busiest multiprocessor; small tiles reach about 3/4 of the speed.
template <class Large, class Small, class G>
bool gemm_small_tiles(const G& g) {
  const auto work = [&]<class Tile>(const Tile*) {
    const int64_t blocks = gemm_grid(g, Tile::BM, Tile::BN, Tile::BK).blocks(g.batch);
    return (blocks + MULTIPROCESSORS - 1) / MULTIPROCESSORS * Tile::BM * Tile::BN;
  };
  using LargeTile = typename Large::Tile;
  using SmallTile = typename Small::Tile;
  return work(static_cast<const SmallTile*>(nullptr)) * 4 < work(static_cast<const LargeTile*>(nullptr)) * 3;
}

// Tile shapes: 1 large, 2 small. Operands: prim/gemm/gemm_operand.h.
template <class Large, class Small, class E, class A, class B, class C>
void gemm_mma_choose(const Gemm<typename Large::Element, E, A, B, C>& g) {
  const bool small = g.tile_shape == 0 ? gemm_small_tiles<Large, Small>(g) : g.tile_shape == 2;
  small ? gemm_mma_run<Small>(g) : gemm_mma_run<Large>(g);
}

// Matrices in any memory order.
template <class Large, class Small, class G>
void gemm_mma_with(const G& gemm) {
  with_strided(gemm, [](const auto& g) { gemm_mma_choose<Large, Small>(g); });
}

}  // namespace gpudl::prim
