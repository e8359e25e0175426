// Matrix products on Hopper (sm_90a) of bfloat16, float16 and TF32: TMA loads tiles into shared memory, from which
// wgmma multiplies them.
//
// A block has one producer warpgroup (of which a single thread works) and CONSUMERS that multiply 64 rows by BN columns
// each. Between them is a ring of STAGES stages, each with 128 bytes of k: `full` completes when a stage has arrived,
// `empty` when all consumers have read it. Blocks are persistent: each processes tile after tile and loads the next
// tile while it stores the sums of the current one. The blocks of a cluster have tiles below each other; each loads a
// part of their common columns of b for all of them. If c allows, sums are stored through shared memory by TMA, in
// boxes of 64 lines of 128 bytes; TMA reads one box while the next is written.
//
// Expected for a tile of 128x256 on an H100 (132 multiprocessors, 4096 FLOP per clock each, 16-bit operands): a stage
// is 4.2 MFLOP, 1024 clocks. For it wgmma reads 80 KiB of shared memory (640 clocks at 128 bytes), and TMA loads 48
// KiB, of which b's 32 KiB are read from L2 once for two blocks: 32 of about 64 bytes per clock. So the tensor cores
// are the limit if the ring hides the latency: three stages are 3072 clocks, against about 1000 from memory. Not
// hidden: the first loads and the final stores, about 3000 clocks per tile, 4 % at k = 4096. Predicted: 0.95 of the
// product's ceiling at 8192, 0.90 at 4096 (3.9 tiles per block: 3 % idle at the end). Registers: a consumer needs 128
// of its 232 for sums, a producer has 40.
#pragma once
#include <algorithm>
#include <type_traits>

#include "platform/device.h"
#include "platform/per_device.h"
#include "prim/gemm/gemm_grid.h"
#include "prim/gemm/gemm_wgmma_operand.h"
#include "prim/gemm/gemm_wgmma_store.h"

namespace gpudl::prim {

template <class T_, int BM_, int BN_, int STAGES_, int CLUSTER_, bool BY_TMA_>
struct WgmmaTile {
  using T = T_;
  static constexpr int BM = BM_, BN = BN_, BK = 128 / sizeof(T), STAGES = STAGES_, CLUSTER = CLUSTER_;
  static constexpr bool BY_TMA = BY_TMA_;  // sums are stored by TMA
  static constexpr int CONSUMERS = BM / 64, THREADS = (CONSUMERS + 1) * 128;
  static constexpr bool MOVES_REGISTERS = CONSUMERS > 1;
  static constexpr int BLOCKS = CONSUMERS > 1 ? 1 : 2;  // per multiprocessor
  static constexpr int A_BYTES = BM * 128, B_BYTES = BN * 128, STAGE_BYTES = A_BYTES + B_BYTES;
  static constexpr int B_PART = BN / CLUSTER;  // columns of b that a block loads
  static constexpr int SHARED_BYTES = STAGES * STAGE_BYTES + (BY_TMA ? CONSUMERS * 2 * WGMMA_BOX : 0);
};

#if GPUDL_HAS_SM90A

// A thread's view of the ring.
template <class Tile>
struct WgmmaRing {
  uint32_t tiles, barriers;
  int stage = 0;
  unsigned parity = 0;

  GPUDL_DEVICE uint32_t full() const { return barriers + stage * 8; }
  GPUDL_DEVICE uint32_t empty() const { return barriers + (Tile::STAGES + stage) * 8; }
  GPUDL_DEVICE uint32_t a() const { return tiles + stage * Tile::STAGE_BYTES; }
  GPUDL_DEVICE uint32_t b() const { return a() + Tile::A_BYTES; }
  GPUDL_DEVICE void advance() {
    if (++stage == Tile::STAGES) stage = 0, parity ^= 1;
  }
  GPUDL_DEVICE void begin() const {
    for (int s = 0; s < Tile::STAGES; ++s) {
      device::mbarrier_init(barriers + s * 8, 1);
      device::mbarrier_init(barriers + (Tile::STAGES + s) * 8, Tile::CLUSTER * Tile::CONSUMERS * 4);
    }
    device::mbarrier_fence_init();
  }
  // Called by whole warps: this warp has read the stage, which any block of the cluster may fill for all.
  GPUDL_DEVICE void release() const {
    const unsigned lane = threadIdx.x % 32;
    if constexpr (Tile::CLUSTER == 1) {
      if (lane == 0) device::mbarrier_arrive(empty());
    } else {
      if (lane < Tile::CLUSTER) device::mbarrier_arrive_cluster(device::cluster_address(empty(), lane));
    }
  }
};

// Tile number `index` of block `rank` of a cluster. Tiles go column by column over eight rows of clusters, so that 132
// blocks together compute a roughly square area, which reads the least of a and b into L2.
template <class Tile>
GPUDL_DEVICE GemmBlock wgmma_block(const GemmGrid& grid, int k, int index, int rank) {
  constexpr int GROUP = 8;
  const int rows = (grid.tiles_m + Tile::CLUSTER - 1) / Tile::CLUSTER;
  const int part = index / (rows * grid.tiles_n), place = index % (rows * grid.tiles_n);
  const int group_first = place / (GROUP * grid.tiles_n) * GROUP, inside = place % (GROUP * grid.tiles_n);
  const int group_rows = min(GROUP, rows - group_first);
  GemmBlock block;
  block.row = ((group_first + inside % group_rows) * Tile::CLUSTER + rank) * Tile::BM;
  block.column = inside / group_rows * Tile::BN;
  block.part = part;
  block.batch = part / grid.pieces;
  block.k_begin = min(part % grid.pieces * grid.piece, k);
  block.k_end = min(block.k_begin + grid.piece, k);
  return block;
}

template <class Tile>
GPUDL_DEVICE int wgmma_rank() {
  if constexpr (Tile::CLUSTER == 1) return 0;
  else return static_cast<int>(device::cluster_rank());
}

// The producer thread.
template <class Tile, class G>
GPUDL_DEVICE void wgmma_load_tiles(const G& g, const GemmGrid& grid, int work, WgmmaRing<Tile> ring) {
  const int rank = wgmma_rank<Tile>();
  const uint16_t all = Tile::CLUSTER == 1 ? 0 : (1 << Tile::CLUSTER) - 1;
  const int b_first = rank * Tile::B_PART;
  for (int i = blockIdx.x / Tile::CLUSTER; i < work; i += gridDim.x / Tile::CLUSTER) {
    const GemmBlock block = wgmma_block<Tile>(grid, g.k, i, rank);
    for (int k = block.k_begin; k < block.k_end; k += Tile::BK) {
      device::mbarrier_wait_parity(ring.empty(), ring.parity ^ 1);  // passes immediately in the first round
      device::mbarrier_arrive_expect_tx(ring.full(), Tile::STAGE_BYTES);
      g.a.template load<Tile::BM>(ring.a(), block.row, k, block.batch, ring.full(), 0);
      g.b.template load<Tile::B_PART>(ring.b() + b_first * 128, block.column + b_first, k, block.batch, ring.full(),
                                      all);
      ring.advance();
    }
  }
}

// A consumer warpgroup. A stage is released when the products of the next one have been issued.
template <class Tile, class G>
GPUDL_DEVICE void wgmma_multiply_tiles(const G& g, const GemmGrid& grid, int work, const device::TensorMap& c_map,
                                       unsigned char* boxes, WgmmaRing<Tile> ring) {
  constexpr bool A_K_FAST = std::remove_cvref_t<decltype(g.a)>::K_FAST;
  constexpr bool B_K_FAST = std::remove_cvref_t<decltype(g.b)>::K_FAST;
  const int rank = wgmma_rank<Tile>(), group = static_cast<int>(threadIdx.x) / 128;
  const WgmmaStore<Tile> store{boxes + group * 2 * WGMMA_BOX};
  for (int i = blockIdx.x / Tile::CLUSTER; i < work; i += gridDim.x / Tile::CLUSTER) {
    const GemmBlock block = wgmma_block<Tile>(grid, g.k, i, rank);
    float sum[Tile::BN / 2];
    WgmmaRing<Tile> last = ring;
    for (int k = block.k_begin; k < block.k_end; k += Tile::BK) {
      device::mbarrier_wait_parity(ring.full(), ring.parity);
      device::wgmma_fence();
#pragma unroll
      for (int step = 0; step < 4; ++step)
        device::wgmma<typename Tile::T, Tile::BN, !A_K_FAST, !B_K_FAST>(
            sum, wgmma_operand_words<A_K_FAST>(ring.a(), group, step), wgmma_operand_words<B_K_FAST>(ring.b(), 0, step),
            step > 0 || k > block.k_begin);
      device::wgmma_commit();
      device::wgmma_wait<1>();
      if (k > block.k_begin) last.release();
      last = ring;
      ring.advance();
    }
    device::wgmma_wait<0>(sum);
    last.release();
    store(g, grid, block, group * 64, c_map, sum);
  }
  store.end();
}

#endif

// Grid: clusters that take turns, with `work` cluster tiles in all. c_map: of c, if Tile::BY_TMA. If registers move, a
// block of 384 threads must start with 168 each, because 128·40 + 256·232 = 384·168.
// sass: gemm_wgmma_kernel dynamic=229376:,128,256,4, dynamic=163840:,128,128,5, dynamic=65536:,64,64,4,
// sass: gemm_wgmma_kernel dynamic=163840:ImageTile<
template <class Tile, class G>
__global__ void __launch_bounds__(Tile::THREADS, Tile::BLOCKS)
    gemm_wgmma_kernel(const __grid_constant__ G g, GemmGrid grid, int work,
                      const __grid_constant__ device::TensorMap c_map) {
#if GPUDL_HAS_SM90A
  GPUDL_DYNAMIC_SHARED(shared);
  GPUDL_SHARED(uint64_t, barriers, [2 * Tile::STAGES]);
  const WgmmaRing<Tile> ring{device::shared_address(shared), device::shared_address(barriers)};
  if (threadIdx.x == 0) ring.begin();
  if constexpr (Tile::CLUSTER == 1) __syncthreads();
  else device::cluster_sync();

  if (threadIdx.x >= Tile::CONSUMERS * 128) {
    if constexpr (Tile::MOVES_REGISTERS) device::warpgroup_decrease_registers<40>();
    if (threadIdx.x == Tile::CONSUMERS * 128) wgmma_load_tiles<Tile>(g, grid, work, ring);
    __syncwarp();
  } else {
    if constexpr (Tile::MOVES_REGISTERS) device::warpgroup_increase_registers<232>();
    wgmma_multiply_tiles<Tile>(g, grid, work, c_map, shared + Tile::STAGES * Tile::STAGE_BYTES, ring);
  }
  if constexpr (Tile::CLUSTER > 1) device::cluster_sync();  // other blocks may still release stages here
#endif
}

// The product of operands as described in prim/gemm/gemm_wgmma_operand.h.
template <class Tile, class E, class A, class B, class C>
void gemm_wgmma_launch(const Gemm<typename Tile::T, E, A, B, C>& g) {
  using G = Gemm<typename Tile::T, E, A, B, C>;
  const GemmGrid grid = gemm_grid(g, Tile::BM, Tile::BN, Tile::BK);
  const int rows = (grid.tiles_m + Tile::CLUSTER - 1) / Tile::CLUSTER;
  const int work = rows * grid.tiles_n * grid.pieces * g.batch;
  device::TensorMap c_map{};
  if constexpr (Tile::BY_TMA) c_map = wgmma_map(g.c.data, g.m, g.n, g.c.row_stride, g.batch, g.c.batch_stride, 64);
  const auto kernel = gemm_wgmma_kernel<Tile, G>;
  static PerDevice known;
  if constexpr (Tile::CLUSTER == 1) {
    const int resident = known.get([&] { return device::resident_blocks(kernel, Tile::THREADS, Tile::SHARED_BYTES); });
    launch(kernel, std::min(work, resident), Tile::THREADS, Tile::SHARED_BYTES, g, grid, work, c_map);
  } else {
    const int resident =
        known.get([&] { return device::resident_clusters(kernel, Tile::CLUSTER, Tile::THREADS, Tile::SHARED_BYTES); });
    launch_cluster(kernel, std::min(work, resident) * Tile::CLUSTER, Tile::CLUSTER, Tile::THREADS, Tile::SHARED_BYTES,
                   g, grid, work, c_map);
  }
  gemm_sum(g, grid);
}

template <class T>
struct WgmmaTiles {
  using Large = WgmmaTile<T, 128, 256, 4, 2, true>;
  using Medium = WgmmaTile<T, 128, 128, 5, 1, false>;
  using Small = WgmmaTile<T, 64, 64, 4, 1, false>;
};

// Large tiles write c by TMA and support no partial sums.
template <class T, class E, class A, class B, class C>
bool gemm_wgmma_fits_large(const Gemm<T, E, A, B, C>& g) {
  if constexpr (std::is_same_v<C, GemmMatrix<T>> && GemmValues<E>) {
    return gemm_aligned(g.c) && (g.batch == 1 || g.c.batch_stride != 0) &&
           gemm_grid(g, 128, 256, WgmmaTiles<T>::Large::BK).partials == nullptr;
  } else {
    return false;
  }
}

// The shape that finishes first, by the tiles of the busiest multiprocessor and the share of tensor-core speed that a
// shape reaches (wgmma with n = 64 is bound by shared memory). 1 large, 2 medium, 3 small.
template <class G>
int gemm_wgmma_choose(const G& g) {
  if (g.tile_shape != 0) return g.tile_shape;
  const auto time = [&](int BM, int BN, double speed) {
    const int64_t blocks = gemm_grid(g, BM, BN, 64).blocks(g.batch);
    return static_cast<double>((blocks + MULTIPROCESSORS - 1) / MULTIPROCESSORS) * BM * BN / speed;
  };
  const double large = time(128, 256, 1.0), medium = time(128, 128, 0.8), small = time(64, 64, 0.45);
  return large <= medium && large <= small ? 1 : medium <= small ? 2 : 3;
}

// Matrices whose memory order is known at compile time.
template <class T, class E, bool A_K_FAST, bool B_K_FAST, class C>
void gemm_wgmma_run(const Gemm<T, E, GemmStrided<T, A_K_FAST>, GemmStrided<T, B_K_FAST>, C>& g) {
  const auto with = [&]<class Tile>(const Tile*) {
    using A = WgmmaMatrix<T, A_K_FAST>;
    using B = WgmmaMatrix<T, B_K_FAST>;
    gemm_wgmma_launch<Tile>(Gemm<T, E, A, B, C>{g.m, g.n, g.k, g.batch, wgmma_operand<Tile::BM>(g.a, g.k, g.batch),
                                                wgmma_operand<Tile::B_PART>(g.b, g.k, g.batch), g.c, g.epilogue,
                                                g.sum_batches, g.workspace, g.tile_shape});
  };
  using Tiles = WgmmaTiles<T>;
  int shape = gemm_wgmma_choose(g);
  if (shape == 1 && !gemm_wgmma_fits_large(g)) shape = 2;
  if (shape == 3) return with(static_cast<const typename Tiles::Small*>(nullptr));
  if constexpr (std::is_same_v<C, GemmMatrix<T>> && GemmValues<E>)
    if (shape == 1) return with(static_cast<const typename Tiles::Large*>(nullptr));
  with(static_cast<const typename Tiles::Medium*>(nullptr));
}

// TMA needs rows aligned to 16 bytes and nonempty arrays; TF32 needs k as the fast axis.
template <class T, class E, class C>
bool gemm_wgmma_fits(const Gemm<T, E, GemmMatrix<const T>, GemmMatrix<const T>, C>& g) {
  const bool orders = sizeof(T) == 2 || (!g.a.transposed && g.b.transposed);
  return g.m > 0 && g.n > 0 && g.k > 0 && g.batch > 0 && orders && gemm_aligned(g.a) && gemm_aligned(g.b);
}

// Matrices that satisfy gemm_wgmma_fits.
template <class T, class E, class C>
void gemm_wgmma_with(const Gemm<T, E, GemmMatrix<const T>, GemmMatrix<const T>, C>& gemm) {
  if constexpr (sizeof(T) == 4)
    gemm_wgmma_run(Gemm<T, E, GemmStrided<T, true>, GemmStrided<T, true>, C>{gemm.m,
                                                                             gemm.n,
                                                                             gemm.k,
                                                                             gemm.batch,
                                                                             {gemm.a, gemm.m},
                                                                             {gemm.b, gemm.n},
                                                                             gemm.c,
                                                                             gemm.epilogue,
                                                                             gemm.sum_batches,
                                                                             gemm.workspace,
                                                                             gemm.tile_shape});
  else with_strided(gemm, [](const auto& g) { gemm_wgmma_run(g); });
}

}  // namespace gpudl::prim
