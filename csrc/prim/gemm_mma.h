// Matrix products on tensor cores by mma.sync (sm_80 and later): tiles of the operands come to shared memory through a
// ring of asynchronous copies, warps take their fragments from there. What is multiplied, and how exactly, is a policy:
// prim/gemm_mma_tf32.h, prim/gemm_mma_bf16.h.
#pragma once
#include "platform/device.h"
#include "prim/gemm_grid.h"

namespace gpudl::prim {

// A block computes BM x BN of c, a warp WM x WN of it. WARP_TILES_M · WARP_TILES_N products of 16x8 a warp.
template <int BM_, int BN_, int BK_, int WM_, int WN_>
struct MmaTile {
  static constexpr int BM = BM_, BN = BN_, BK = BK_, WM = WM_, WN = WN_, STAGES = 3;
  static constexpr int WARPS_M = BM / WM, WARPS_N = BN / WN, THREADS = WARPS_M * WARPS_N * 32;
  static constexpr int WARP_TILES_M = WM / 16, WARP_TILES_N = WN / 8;
};

// A tile of an operand in shared memory, EXTENT rows of a (or columns of b) by BK, in the order of global memory. PAD
// shifts the lines against each other, so that the lanes that read a fragment meet different banks.
template <class T, int EXTENT, int BK, bool K_FAST_, int THREADS>
struct MmaOperand {
  static constexpr bool K_FAST = K_FAST_;
  static constexpr int GROUP = 16 / sizeof(T);  // elements that are copied at once
  static constexpr int LINES = K_FAST ? EXTENT : BK, LENGTH = K_FAST ? BK : EXTENT;
  static constexpr int PAD = sizeof(T) == 2 || !K_FAST ? 8 : 4;
  static constexpr int STRIDE = LENGTH + PAD;
  static constexpr int BYTES = LINES * STRIDE * static_cast<int>(sizeof(T));
  static constexpr int COPIES = LINES * LENGTH / GROUP / THREADS;
  static_assert(COPIES * GROUP * THREADS == LINES * LENGTH, "every thread makes the same number of copies");

  const T* data;
  int64_t stride;
  int extent;  // rows of a, columns of b
  bool aligned;

  // Elements past the edges become zero.
  GPUDL_DEVICE void load(T* tile, int first, int k_begin, int k_end) const {
    const int lines = K_FAST ? extent : k_end, length = K_FAST ? k_end : extent;
#pragma unroll
    for (int i = 0; i < COPIES; ++i) {
      const int index = static_cast<int>(threadIdx.x) + i * THREADS;
      const int line = index / (LENGTH / GROUP), at = index % (LENGTH / GROUP) * GROUP;
      const int from_line = line + (K_FAST ? first : k_begin), from = at + (K_FAST ? k_begin : first);
      const int valid = from_line < lines ? max(0, min(GROUP, length - from)) : 0;
      copy_group(tile + line * STRIDE + at, valid > 0 ? data + from_line * stride + from : data, valid);
    }
  }

  // `valid` elements, zeros after them. Asynchronous where the alignment allows.
  GPUDL_DEVICE void copy_group(T* to, const T* from, int valid) const {
    const uint32_t address = device::shared_address(to);
    if (aligned) {
      device::cp_async<16>(address, from, valid * static_cast<int>(sizeof(T)));
    } else if constexpr (sizeof(T) == 4) {
#pragma unroll
      for (int i = 0; i < GROUP; ++i)
        device::cp_async<4>(address + 4 * i, i < valid ? from + i : data, i < valid ? 4 : 0);
    } else {
#pragma unroll
      for (int i = 0; i < GROUP; ++i) to[i] = i < valid ? from[i] : T{};
    }
  }
};

// One element of an operand in global memory.
template <class T>
GPUDL_DEVICE float gemm_element(const GemmMatrix<T>& x, int batch, int row, int column) {
  const int64_t at = x.transposed ? column * x.row_stride + row : row * x.row_stride + column;
  return as_float(x.data[batch * x.batch_stride + at]);
}

// A tile of c by plain float32 loops: for operands that a policy cannot represent.
template <class T, class E>
GPUDL_DEVICE void gemm_plain_tile(const Gemm<T, E>& g, const GemmGrid& grid, const GemmBlock& block, int BM, int BN) {
  for (int i = static_cast<int>(threadIdx.x); i < BM * BN; i += static_cast<int>(blockDim.x)) {
    const int row = block.row + i / BN, column = block.column + i % BN;
    if (row >= g.m || column >= g.n) continue;
    float sum = 0;
    for (int k = block.k_begin; k < block.k_end; ++k)
      sum += gemm_element(g.a, block.batch, row, k) * gemm_element(g.b, block.batch, k, column);
    gemm_store(g, grid, block, row, column, sum);
  }
}

// Grid: GemmGrid. Block: Tile::THREADS. While a stage is multiplied, the next STAGES - 1 are being copied.
// Policy: multiply<A, B>(a_tile, b_tile) adds the products of a stage, its fragments' origin being the warp's first row
// (column); finish() ends the sums, and tells whether the tile must be computed plainly instead; sum[i][j] is the
// warp's 16x8 tile (i, j). Needs no alignment: unaligned operands are copied in smaller pieces.
template <class Policy, bool A_K_FAST, bool B_K_FAST, class E>
__global__ void __launch_bounds__(Policy::Tile::THREADS)
    gemm_mma_kernel(Gemm<typename Policy::Element, E> g, GemmGrid grid, bool a_aligned, bool b_aligned) {
#if GPUDL_HAS_SM80
  using T = typename Policy::Element;
  using Tile = typename Policy::Tile;
  using A = MmaOperand<T, Tile::BM, Tile::BK, A_K_FAST, Tile::THREADS>;
  using B = MmaOperand<T, Tile::BN, Tile::BK, B_K_FAST, Tile::THREADS>;
  GPUDL_DYNAMIC_SHARED(shared);
  const GemmBlock block = gemm_block(grid, g.k, Tile::BM, Tile::BN);
  const A a{g.a.data + block.batch * g.a.batch_stride, g.a.row_stride, g.m, a_aligned};
  const B b{g.b.data + block.batch * g.b.batch_stride, g.b.row_stride, g.n, b_aligned};
  const auto a_stage = [&](int s) { return reinterpret_cast<T*>(shared + s % Tile::STAGES * (A::BYTES + B::BYTES)); };
  const auto b_stage = [&](int s) { return a_stage(s) + A::BYTES / static_cast<int>(sizeof(T)); };
  const int tiles = (block.k_end - block.k_begin + Tile::BK - 1) / Tile::BK;
  const auto load_stage = [&](int s) {
    const int k = block.k_begin + s * Tile::BK;
    if (s < tiles) {
      a.load(a_stage(s), block.row, k, block.k_end);
      b.load(b_stage(s), block.column, k, block.k_end);
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
    __syncthreads();  // stage s has come for all threads, and all have read stage s - 1, whose place is taken now
    load_stage(s + Tile::STAGES - 1);
    policy.template multiply<A, B>(a_stage(s) + warp_row * (A_K_FAST ? A::STRIDE : 1),
                                   b_stage(s) + warp_column * (B_K_FAST ? B::STRIDE : 1));
  }
  if (policy.finish()) return gemm_plain_tile(g, grid, block, Tile::BM, Tile::BN);
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int i = 0; i < Tile::WARP_TILES_M; ++i)
#pragma unroll
    for (int j = 0; j < Tile::WARP_TILES_N; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e)
        gemm_store(g, grid, block, block.row + warp_row + i * 16 + lane / 4 + e / 2 * 8,
                   block.column + warp_column + j * 8 + lane % 4 * 2 + e % 2, policy.sum[i][j][e]);
#endif
}

template <class Policy, bool A_K_FAST, bool B_K_FAST, class E>
void gemm_mma_run(const Gemm<typename Policy::Element, E>& g) {
  using T = typename Policy::Element;
  using Tile = typename Policy::Tile;
  constexpr int STAGE = MmaOperand<T, Tile::BM, Tile::BK, A_K_FAST, Tile::THREADS>::BYTES +
                        MmaOperand<T, Tile::BN, Tile::BK, B_K_FAST, Tile::THREADS>::BYTES;
  gemm_launch(gemm_mma_kernel<Policy, A_K_FAST, B_K_FAST, E>, g, gemm_grid(g, Tile::BM, Tile::BN, Tile::BK),
              Tile::THREADS, Tile::STAGES * STAGE, gemm_aligned(g.a), gemm_aligned(g.b));
}

template <class Policy, class E>
void gemm_mma_with(const Gemm<typename Policy::Element, E>& g) {
  if (g.a.transposed) g.b.transposed ? gemm_mma_run<Policy, false, true>(g) : gemm_mma_run<Policy, false, false>(g);
  else g.b.transposed ? gemm_mma_run<Policy, true, true>(g) : gemm_mma_run<Policy, true, false>(g);
}

}  // namespace gpudl::prim
