// ldmatrix and mma.sync against plain loops, and a whole GEMM that uses them.
#include "harness.h"

using namespace gpudl;
using harness::Buffer;
using harness::expect_equal;
using harness::product;
using harness::transposed;
using harness::whole_numbers;

namespace {

// Rows of 16 bytes; element [row][column] of matrix m is m * 64 + row * 8 + column.
template <int COUNT, bool TRANSPOSED>
__global__ void matrix_load_kernel(uint32_t* out) {
#if GPUDL_HAS_SM80
  GPUDL_SHARED(uint16_t, element, [COUNT * 8][8]);
  const int lane = threadIdx.x;
  for (int i = lane; i < COUNT * 64; i += 32) element[i / 8][i % 8] = static_cast<uint16_t>(i);
  __syncwarp();
  uint32_t fragment[COUNT];
  const uint32_t row = device::shared_address(element[lane % (COUNT * 8)]);
  if constexpr (COUNT == 4 && TRANSPOSED) device::ldmatrix_x4_trans(fragment, row);
  if constexpr (COUNT == 4 && !TRANSPOSED) device::ldmatrix_x4(fragment, row);
  if constexpr (COUNT == 2 && TRANSPOSED) device::ldmatrix_x2_trans(fragment, row);
  if constexpr (COUNT == 2 && !TRANSPOSED) device::ldmatrix_x2(fragment, row);
  for (int m = 0; m < COUNT; ++m) out[lane * COUNT + m] = fragment[m];
#endif
}

template <int COUNT, bool TRANSPOSED>
void check_matrix_load() {
  Buffer<uint32_t> out(32 * COUNT);
  launch(matrix_load_kernel<COUNT, TRANSPOSED>, 1, 32, 0, out.data());
  std::vector<uint32_t> expected;
  for (uint32_t lane = 0; lane < 32; ++lane)
    for (uint32_t m = 0; m < COUNT; ++m) {
      const uint32_t i = lane / 4, j = lane % 4 * 2;
      const uint32_t low = m * 64 + (TRANSPOSED ? j * 8 + i : i * 8 + j);
      expected.push_back(low | (low + (TRANSPOSED ? 8 : 1)) << 16);
    }
  expect_equal(out.get(), expected);
}

CASE(matrix_loads) {
  check_matrix_load<4, false>();
  check_matrix_load<4, true>();
  check_matrix_load<2, false>();
  check_matrix_load<2, true>();
}

// c[16,8] += a[16,16] * b[16,8], every operand row-major
__global__ void mma_bf16_kernel(const bfloat16* a, const bfloat16* b, float* c) {
#if GPUDL_HAS_SM80
  const int group = threadIdx.x / 4, pair = threadIdx.x % 4 * 2;
  uint32_t fa[4], fb[2];
  float d[4];
  for (int i = 0; i < 4; ++i) {
    const bfloat16* at = a + (group + i % 2 * 8) * 16 + pair + i / 2 * 8;
    fa[i] = device::pack(at[0], at[1]);
    d[i] = c[(group + i / 2 * 8) * 8 + pair + i % 2];
  }
  for (int i = 0; i < 2; ++i) {
    const bfloat16* at = b + (pair + i * 8) * 8 + group;
    fb[i] = device::pack(at[0], at[8]);
  }
  device::mma_m16n8k16_bf16(d, fa, fb);
  for (int i = 0; i < 4; ++i) c[(group + i / 2 * 8) * 8 + pair + i % 2] = d[i];
#endif
}

// c[16,8] += a[16,8] * b[8,8]
__global__ void mma_tf32_kernel(const float* a, const float* b, float* c) {
#if GPUDL_HAS_SM80
  const int group = threadIdx.x / 4, column = threadIdx.x % 4;
  uint32_t fa[4], fb[2];
  float d[4];
  for (int i = 0; i < 4; ++i) {
    fa[i] = device::to_tf32(a[(group + i % 2 * 8) * 8 + column + i / 2 * 4]);
    d[i] = c[(group + i / 2 * 8) * 8 + column * 2 + i % 2];
  }
  for (int i = 0; i < 2; ++i) fb[i] = device::to_tf32(b[(column + i * 4) * 8 + group]);
  device::mma_m16n8k8_tf32(d, fa, fb);
  for (int i = 0; i < 4; ++i) c[(group + i / 2 * 8) * 8 + column * 2 + i % 2] = d[i];
#endif
}

CASE(mma) {
  const auto a = whole_numbers(256, 1), b = whole_numbers(128, 2), c = whole_numbers(128, 3);
  auto expected = product(a, b, 16, 8, 16);
  for (int i = 0; i < 128; ++i) expected[i] += c[i];
  Buffer<bfloat16> a16(harness::to_bfloat16(a)), b16(harness::to_bfloat16(b));
  Buffer<float> d(c);
  launch(mma_bf16_kernel, 1, 32, 0, a16.data(), b16.data(), d.data());
  expect_equal(d.get(), expected);

  const std::vector<float> a8(a.begin(), a.begin() + 128), b8(b.begin(), b.begin() + 64);
  expected = product(a8, b8, 16, 8, 8);
  for (int i = 0; i < 128; ++i) expected[i] += c[i];
  Buffer<float> a32(a8), b32(b8), d32(c);
  launch(mma_tf32_kernel, 1, 32, 0, a32.data(), b32.data(), d32.data());
  expect_equal(d32.get(), expected);
}

// c[M,N] = a[M,K] * b[K,N] in bfloat16: three stages of cp.async, ldmatrix, mma.
// Grid: one block per 32x32 tile. Block: 4 warps, 16x16 of the tile each. Requires K and N multiples of 8.
constexpr int BM = 32, BN = 32, BK = 32, STAGES = 3, PAD = 8;

__global__ void __launch_bounds__(128)
    gemm_kernel(const bfloat16* a, const bfloat16* b, float* c, int M, int N, int K) {
#if GPUDL_HAS_SM80
  GPUDL_SHARED(bfloat16, sa, [STAGES][BM][BK + PAD]);
  GPUDL_SHARED(bfloat16, sb, [STAGES][BK][BN + PAD]);
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  const int m0 = blockIdx.y * BM, n0 = blockIdx.x * BN, wm = warp / 2 * 16, wn = warp % 2 * 16;
  const int row = thread / 4, chunk = thread % 4 * 8;  // in both tiles: 32 rows of 4 chunks of 8
  const auto load = [&](int stage, int k0) {
    const bool a_inside = m0 + row < M && k0 + chunk < K, b_inside = k0 + row < K && n0 + chunk < N;
    device::cp_async<16>(device::shared_address(&sa[stage][row][chunk]), a_inside ? a + (m0 + row) * K + k0 + chunk : a,
                         a_inside ? 16 : 0);
    device::cp_async<16>(device::shared_address(&sb[stage][row][chunk]), b_inside ? b + (k0 + row) * N + n0 + chunk : b,
                         b_inside ? 16 : 0);
  };
  float d[2][4] = {};
  const int steps = (K + BK - 1) / BK;
  for (int s = 0; s < STAGES - 1; ++s) {
    if (s < steps) load(s, s * BK);
    device::cp_async_commit();
  }
  for (int step = 0; step < steps; ++step) {
    device::cp_async_wait<STAGES - 2>();
    __syncthreads();
    const int next = step + STAGES - 1, stage = step % STAGES;
    if (next < steps) load(next % STAGES, next * BK);
    device::cp_async_commit();
    for (int k = 0; k < BK; k += 16) {
      uint32_t fa[4], fb[4];
      device::ldmatrix_x4(fa, device::shared_address(&sa[stage][wm + lane % 16][k + lane / 16 * 8]));
      device::ldmatrix_x4_trans(fb, device::shared_address(&sb[stage][k + lane % 16][wn + lane / 16 * 8]));
      for (int j = 0; j < 2; ++j) device::mma_m16n8k16_bf16(d[j], fa, {fb[j * 2], fb[j * 2 + 1]});
    }
  }
  device::cp_async_wait<0>();
  for (int j = 0; j < 2; ++j)
    for (int i = 0; i < 4; ++i) {
      const int m = m0 + wm + lane / 4 + i / 2 * 8, n = n0 + wn + j * 8 + lane % 4 * 2 + i % 2;
      if (m < M && n < N) c[m * N + n] = d[j][i];
    }
#endif
}

CASE(gemm) {
  constexpr int M = 45, N = 40, K = 104;
  const auto a = whole_numbers(M * K, 4), b = whole_numbers(K * N, 5);
  Buffer<bfloat16> a16(harness::to_bfloat16(a)), b16(harness::to_bfloat16(b));
  Buffer<float> c(M * N);
  launch(gemm_kernel, dim3((N + BN - 1) / BN, (M + BM - 1) / BM), 128, 0, a16.data(), b16.data(), c.data(), M, N, K);
  expect_equal(c.get(), product(a, b, M, N, K));
}

}  // namespace
