// mbarrier, TMA and wgmma (sm_90a) against plain loops.
#include <numeric>

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

// The position of element i of a shared tile after a swizzle of `width` bytes; elements have 2 bytes.
int swizzled_element(int i, int width) {
  const int byte = i * 2, line = byte / 128, chunks = width / 16;
  return width == 0 ? i : (byte ^ (line % chunks * 16)) / 2;
}

// Loads one box of a tensor of RANK axes and writes the tile out in the order of shared memory.
template <int RANK>
__global__ void load_box_kernel(const __grid_constant__ TensorMap map, int4 at, int last, bfloat16* out, int elements) {
#if GPUDL_HAS_SM90A
  GPUDL_DYNAMIC_SHARED(bytes);
  GPUDL_SHARED(uint64_t, barrier, [1]);
  const uint32_t tile = device::shared_address(bytes), mbarrier = device::shared_address(barrier);
  if (threadIdx.x == 0) {
    device::tma_prefetch(&map);
    device::mbarrier_init(mbarrier, 1);
    device::mbarrier_fence_init();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    device::mbarrier_arrive_expect_tx(mbarrier, elements * 2);
    if constexpr (RANK == 1) device::tma_load_1d(tile, &map, at.x, mbarrier);
    if constexpr (RANK == 2) device::tma_load_2d(tile, &map, at.x, at.y, mbarrier);
    if constexpr (RANK == 3) device::tma_load_3d(tile, &map, at.x, at.y, at.z, mbarrier);
    if constexpr (RANK == 4) device::tma_load_4d(tile, &map, at.x, at.y, at.z, at.w, mbarrier);
    if constexpr (RANK == 5) device::tma_load_5d(tile, &map, at.x, at.y, at.z, at.w, last, mbarrier);
  }
  device::mbarrier_wait_parity(mbarrier, 0);
  const bfloat16* element = reinterpret_cast<const bfloat16*>(bytes);
  for (int i = threadIdx.x; i < elements; i += blockDim.x) out[i] = element[i];
#endif
}

// Each element of the tensor is its position in memory plus one; elements outside are zero.
template <int RANK>
void check_load_box(const int64_t (&extent)[RANK], const int (&box)[RANK], const int (&at)[5], Swizzle swizzle) {
  int64_t stride[RANK], size = 1;
  int elements = 1;
  for (int axis = 0; axis < RANK; ++axis) {
    stride[axis] = size;
    size *= extent[axis];
    elements *= box[axis];
  }
  std::vector<float> values(size);
  for (int64_t i = 0; i < size; ++i) values[i] = static_cast<float>(i % 250 + 1);
  Buffer<bfloat16> x(harness::to_bfloat16(values)), out(elements);
  launch(load_box_kernel<RANK>, 1, 32, elements * 2,
         device::make_tensor_map(static_cast<const bfloat16*>(x.data()), extent, stride, box, swizzle),
         make_int4(at[0], at[1], at[2], at[3]), at[4], out.data(), elements);

  const int width = swizzle == Swizzle::none ? 0 : box[0] * 2;
  std::vector<float> expected(elements), actual;
  for (int i = 0; i < elements; ++i) {
    int64_t rest = i, position = 0;
    bool inside = true;
    for (int axis = 0; axis < RANK; ++axis) {
      const int64_t index = at[axis] + rest % box[axis];
      rest /= box[axis];
      inside = inside && index >= 0 && index < extent[axis];
      position += index * stride[axis];
    }
    expected[swizzled_element(i, width)] = inside ? values[position] : 0.0f;
  }
  for (const bfloat16 value : out.get()) actual.push_back(device::to_float(value));
  expect_equal(actual, expected);
}

CASE(tma_loads) {
  check_load_box<1>({40}, {64}, {-8}, Swizzle::none);
  check_load_box<2>({48, 10}, {16, 6}, {40, 7}, Swizzle::none);
  check_load_box<2>({80, 20}, {64, 16}, {32, -3}, Swizzle::bytes128);
  check_load_box<2>({80, 20}, {32, 12}, {48, 15}, Swizzle::bytes64);
  check_load_box<2>({80, 20}, {16, 20}, {-8, 0}, Swizzle::bytes32);
  check_load_box<3>({16, 5, 4}, {8, 3, 2}, {8, 3, 3}, Swizzle::none);
  check_load_box<4>({64, 5, 4, 3}, {64, 3, 4, 2}, {0, -1, 2, 1}, Swizzle::bytes128);
  check_load_box<5>({8, 3, 4, 3, 2}, {8, 2, 2, 2, 2}, {0, 2, -1, 1, 1}, Swizzle::none);
}

// The pixels that one tap reads, in consecutive windows across rows, planes and images.
template <int RANK>
__global__ void load_image_kernel(const __grid_constant__ TensorMap map, int4 at, int4 last_and_tap, float* out,
                                  int elements) {
#if GPUDL_HAS_SM90A
  GPUDL_DYNAMIC_SHARED(bytes);
  GPUDL_SHARED(uint64_t, barrier, [1]);
  const uint32_t tile = device::shared_address(bytes), mbarrier = device::shared_address(barrier);
  const int4 l = last_and_tap;
  if (threadIdx.x == 0) {
    device::mbarrier_init(mbarrier, 1);
    device::mbarrier_fence_init();
    device::mbarrier_arrive_expect_tx(mbarrier, elements * 4);
    if constexpr (RANK == 4) device::tma_load_image_4d(tile, &map, at.x, at.y, at.z, at.w, l.y, l.z, mbarrier);
    else device::tma_load_image_5d(tile, &map, at.x, at.y, at.z, at.w, l.x, l.y, l.z, l.w, mbarrier);
  }
  __syncthreads();
  device::mbarrier_wait_parity(mbarrier, 0);
  for (int i = threadIdx.x; i < elements; i += blockDim.x) out[i] = reinterpret_cast<const float*>(bytes)[i];
#endif
}

CASE(tma_image_loads) {
  constexpr int C = 8, W = 6, H = 5, N = 2, PIXELS = 24;  // windows of 3x2, every second column, one pixel of padding
  std::vector<float> x(C * W * H * N), expected;
  std::iota(x.begin(), x.end(), 1.0f);
  Buffer<float> input(x), out(4 * PIXELS);
  const auto map =
      device::make_image_map(static_cast<const float*>(input.data()), {C, W, H, N}, {1, C, C * W, C * W * H}, {-1, 0},
                             {-1, -1}, {2, 1}, 4, PIXELS, Swizzle::none);
  const int tap_x = 2, tap_y = 1, columns = 3, rows = 4, begin = 4;  // starts at window (1, 1) of image 0
  launch(load_image_kernel<4>, 1, 32, 4 * PIXELS * 4, map, make_int4(4, 1, 1, 0), make_int4(0, tap_x, tap_y, 0),
         out.data(), 4 * PIXELS);
  for (int i = 0; i < PIXELS; ++i) {
    const int window = begin + i, n = window / columns / rows;
    const int w = window % columns * 2 - 1 + tap_x, h = window / columns % rows + tap_y;
    const bool inside = w >= 0 && w < W && h < H && n < N;
    for (int c = 0; c < 4; ++c) expected.push_back(inside ? x[((n * H + h) * W + w) * C + 4 + c] : 0.0f);
  }
  expect_equal(out.get(), expected);
}

CASE(tma_volume_loads) {
  constexpr int C = 4, W = 3, H = 3, D = 4, N = 2, PIXELS = 40;  // windows of 2x1x3
  std::vector<float> x(C * W * H * D * N), expected;
  std::iota(x.begin(), x.end(), 1.0f);
  Buffer<float> input(x), out(C * PIXELS);
  const auto map = device::make_image_map(static_cast<const float*>(input.data()), {C, W, H, D, N},
                                          {1, C, C * W, C * W * H, C * W * H * D}, {-1, 0, -1}, {0, 0, -1}, {1, 1, 2},
                                          C, PIXELS, Swizzle::none);
  const int columns = 4, rows = 3, planes = 2;
  launch(load_image_kernel<5>, 1, 32, C * PIXELS * 4, map, make_int4(0, -1, 0, -1), make_int4(0, 1, 0, 2), out.data(),
         C * PIXELS);
  for (int i = 0; i < PIXELS; ++i) {
    const int n = i / columns / rows / planes;
    const int w = i % columns, h = i / columns % rows, d = i / columns / rows % planes * 2 - 1 + 2;
    const bool inside = w < W && d < D && n < N;
    for (int c = 0; c < C; ++c) expected.push_back(inside ? x[(((n * D + d) * H + h) * W + w) * C + c] : 0.0f);
  }
  expect_equal(out.get(), expected);
}

__global__ void load_bytes_kernel(const float* x, float* y, int n) {
#if GPUDL_HAS_SM90A
  GPUDL_SHARED(float, tile, [64]);
  GPUDL_SHARED(uint64_t, barrier, [1]);
  const uint32_t mbarrier = device::shared_address(barrier);
  if (threadIdx.x == 0) {
    device::mbarrier_init(mbarrier, 1);
    device::mbarrier_fence_init();
    device::mbarrier_arrive_expect_tx(mbarrier, n * 4);
    device::tma_load_bytes(device::shared_address(tile), x, n * 4, mbarrier);
  }
  __syncthreads();
  device::mbarrier_wait_parity(mbarrier, 0);
  for (int i = threadIdx.x; i < n; i += blockDim.x) y[i] = tile[n - 1 - i];
#endif
}

CASE(bulk_loads) {
  const auto x = whole_numbers(60, 6);
  Buffer<float> input(x), output(60);
  launch(load_bytes_kernel, 1, 32, 0, input.data(), output.data(), 60);
  expect_equal(output.get(), {x.rbegin(), x.rend()});
}

// Fills a 20x32 tile and stores it across the edge of the tensor.
__global__ void store_box_kernel(const __grid_constant__ TensorMap map, int x, int y) {
#if GPUDL_HAS_SM90A
  GPUDL_DYNAMIC_SHARED(bytes);
  float* tile = reinterpret_cast<float*>(bytes);
  for (int i = threadIdx.x; i < 20 * 32; i += blockDim.x) {  // 128-byte rows, 128-byte swizzle
    const int row = i / 32, chunk = i % 32 / 4;
    tile[row * 32 + (chunk ^ row % 8) * 4 + i % 4] = static_cast<float>(i);
  }
  device::fence_async_shared();
  __syncthreads();
  if (threadIdx.x == 0) {
    device::tma_store_2d(&map, device::shared_address(bytes), x, y);
    device::tma_store_commit();
    device::tma_store_wait<0>();
  }
#endif
}

CASE(tma_stores) {
  Buffer<float> out(40 * 24, -1.0f);
  const auto map =
      device::make_tensor_map(static_cast<const float*>(out.data()), {40, 24}, {1, 40}, {32, 20}, Swizzle::bytes128);
  launch(store_box_kernel, 1, 64, 20 * 128, map, 16, -2);
  std::vector<float> expected(40 * 24, -1.0f);
  for (int row = 2; row < 20; ++row)
    for (int column = 0; column < 24; ++column) expected[(row - 2) * 40 + 16 + column] = row * 32.0f + column;
  expect_equal(out.get(), expected);
}

__global__ void ring_kernel(const int* x, int* y, int rounds) {  // one warp fills slots, another empties them
#if GPUDL_HAS_SM90A
  constexpr int SLOTS = 3;
  GPUDL_SHARED(int, slot, [SLOTS][32]);
  GPUDL_SHARED(uint64_t, barriers, [2 * SLOTS]);
  const int lane = threadIdx.x % 32;
  const auto full = [&](int s) { return device::shared_address(&barriers[s]); };
  const auto empty = [&](int s) { return device::shared_address(&barriers[SLOTS + s]); };
  if (threadIdx.x == 0)
    for (int i = 0; i < 2 * SLOTS; ++i) device::mbarrier_init(device::shared_address(&barriers[i]), 32);
  __syncthreads();
  for (int i = 0; i < rounds; ++i) {
    const int s = i % SLOTS, lap = i / SLOTS;
    if (threadIdx.x < 32) {
      device::mbarrier_wait_parity(empty(s), (lap & 1) ^ 1);  // passes at once in the first lap
      slot[s][lane] = x[i * 32 + lane];
      device::mbarrier_arrive(full(s));
    } else {
      device::mbarrier_wait_parity(full(s), lap & 1);
      y[i * 32 + lane] = slot[s][31 - lane];
      device::mbarrier_arrive(empty(s));
    }
  }
#endif
}

CASE(mbarrier_ring) {
  std::vector<int> x(10 * 32), expected;
  std::iota(x.begin(), x.end(), 1);
  for (int i = 0; i < 10; ++i)
    for (int lane = 0; lane < 32; ++lane) expected.push_back(x[i * 32 + 31 - lane]);
  Buffer<int> input(x), output(x.size());
  launch(ring_kernel, 1, 64, 0, input.data(), output.data(), 10);
  expect_equal(output.get(), expected);
}

// c[64,N] = a * b + c, K = 64. TMA loads the tiles: K-major boxes {64, rows}, or MN-major boxes {64, k}, several side
// by side. FROM_REGISTERS: A's fragments are read from global memory (K-major) instead.
template <class T, int N, bool A_M_MAJOR, bool B_N_MAJOR, bool FROM_REGISTERS>
__global__ void __launch_bounds__(128) wgmma_kernel(const __grid_constant__ TensorMap map_a,
                                                    const __grid_constant__ TensorMap map_b, const T* a, float* c) {
#if GPUDL_HAS_SM90A
  constexpr int BOX = 64 * 128;  // bytes of a box {64, 64}, or {32, 64} of float32
  GPUDL_DYNAMIC_SHARED(bytes);
  GPUDL_SHARED(uint64_t, barrier, [1]);
  const uint32_t tile_a = device::shared_address(bytes), tile_b = tile_a + BOX;
  const uint32_t mbarrier = device::shared_address(barrier);
  if (threadIdx.x == 0) {
    device::mbarrier_init(mbarrier, 1);
    device::mbarrier_fence_init();
    device::mbarrier_arrive_expect_tx(mbarrier, BOX + N / 64 * BOX);
    device::tma_load_2d(tile_a, &map_a, 0, 0, mbarrier);
    for (int i = 0; i < N / 64; ++i)
      device::tma_load_2d(tile_b + i * BOX, &map_b, B_N_MAJOR ? i * 64 : 0, B_N_MAJOR ? 0 : i * 64, mbarrier);
  }
  __syncthreads();
  device::mbarrier_wait_parity(mbarrier, 0);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const auto row = [&](int i) { return warp * 16 + lane / 4 + i / 2 % 2 * 8; };
  const auto column = [&](int i) { return i / 4 * 8 + lane % 4 * 2 + i % 2; };
  float d[N / 2];
  for (int i = 0; i < N / 2; ++i) d[i] = c[row(i) * N + column(i)];
  device::wgmma_fence();
  for (int k = 0; k < 4; ++k) {
    const uint64_t b = B_N_MAJOR ? device::wgmma_descriptor_mn_major_128b(tile_b + k * 2048, BOX)
                                 : device::wgmma_descriptor_k_major_128b(tile_b + k * 32);
    if constexpr (FROM_REGISTERS) {
      uint32_t fragment[4];
      for (int i = 0; i < 4; ++i) {
        const T* at = a + (warp * 16 + lane / 4 + i % 2 * 8) * 64 + k * 16 + lane % 4 * 2 + i / 2 * 8;
        fragment[i] = device::pack(at[0], at[1]);
      }
      device::wgmma_fence();
      if constexpr (N == 64) device::wgmma_m64n64k16_bf16<B_N_MAJOR>(d, fragment, b, 1);
      if constexpr (N == 128) device::wgmma_m64n128k16_bf16<B_N_MAJOR>(d, fragment, b, 1);
      if constexpr (N == 256) device::wgmma_m64n256k16_bf16<B_N_MAJOR>(d, fragment, b, 1);
      device::wgmma_commit();
      device::wgmma_wait<0>();  // before the registers of the fragment are reused
    } else {
      const uint64_t a_words = A_M_MAJOR ? device::wgmma_descriptor_mn_major_128b(tile_a + k * 2048, BOX)
                                         : device::wgmma_descriptor_k_major_128b(tile_a + k * 32);
      device::wgmma<T, N, A_M_MAJOR, B_N_MAJOR>(d, a_words, b, 1);
    }
  }
  device::wgmma_commit();
  device::wgmma_wait<0>();
  for (int i = 0; i < N / 2; ++i) c[row(i) * N + column(i)] = d[i];
#endif
}

template <class T, int N, bool A_M_MAJOR, bool B_N_MAJOR, bool FROM_REGISTERS>
void check_wgmma() {
  constexpr int K = 128 / sizeof(T);
  const auto a = whole_numbers(64 * K, 7), b = whole_numbers(K * N, 8), c = whole_numbers(64 * N, 9);
  auto expected = product(a, b, 64, N, K);
  for (size_t i = 0; i < c.size(); ++i) expected[i] += c[i];
  Buffer<T> a_stored(harness::rounded<T>(A_M_MAJOR ? transposed(a, 64, K) : a));
  Buffer<T> b_stored(harness::rounded<T>(B_N_MAJOR ? b : transposed(b, K, N)));
  Buffer<float> d(c);
  const int64_t inner = B_N_MAJOR ? N : K, outer = B_N_MAJOR ? K : N;
  const auto map_a =
      device::make_tensor_map(static_cast<const T*>(a_stored.data()), {K, 64}, {1, K}, {K, 64}, Swizzle::bytes128);
  const auto map_b = device::make_tensor_map(static_cast<const T*>(b_stored.data()), {inner, outer}, {1, inner},
                                             {K, 64}, Swizzle::bytes128);
  launch(wgmma_kernel<T, N, A_M_MAJOR, B_N_MAJOR, FROM_REGISTERS>, 1, 128, 8192 + N / 64 * 8192, map_a, map_b,
         static_cast<const T*>(a_stored.data()), d.data());
  expect_equal(d.get(), expected);
}

CASE(wgmma_k_major) {
  check_wgmma<bfloat16, 64, false, false, false>();
  check_wgmma<bfloat16, 128, false, false, false>();
  check_wgmma<bfloat16, 256, false, false, false>();
}

CASE(wgmma_float16) {
  check_wgmma<float16, 192, false, false, false>();
  check_wgmma<float16, 64, true, true, false>();
}

CASE(wgmma_tf32_swizzled) {
  check_wgmma<float, 128, false, false, false>();
  check_wgmma<float, 256, false, false, false>();
}

CASE(wgmma_mn_major) {
  check_wgmma<bfloat16, 64, true, true, false>();
  check_wgmma<bfloat16, 128, false, true, false>();
  check_wgmma<bfloat16, 256, true, false, false>();
}

CASE(wgmma_from_registers) {
  check_wgmma<bfloat16, 64, false, false, true>();
  check_wgmma<bfloat16, 128, false, true, true>();
}

// c[64,64] = a[64,32] * b[32,64] in tf32 without swizzle: core matrices of 8 rows of 16 bytes.
__global__ void __launch_bounds__(128) wgmma_tf32_kernel(const float* a, const float* b_transposed, float* c) {
#if GPUDL_HAS_SM90A
  constexpr int ROWS = 64, K = 32, CORE = 128, ALONG_K = ROWS / 8 * CORE;
  GPUDL_SHARED(float, tile_a, [ROWS * K]);
  GPUDL_SHARED(float, tile_b, [ROWS * K]);
  for (int i = threadIdx.x; i < ROWS * K; i += blockDim.x) {
    const int row = i / K, k = i % K;
    const int at = k / 4 * (ALONG_K / 4) + row / 8 * (CORE / 4) + row % 8 * 4 + k % 4;
    tile_a[at] = a[i];
    tile_b[at] = b_transposed[i];
  }
  device::fence_async_shared();
  __syncthreads();
  float d[32];
  device::wgmma_fence();
  for (int k = 0; k < K / 8; ++k) {
    const uint32_t at = static_cast<uint32_t>(k) * 2 * ALONG_K;
    device::wgmma_m64n64k8_tf32(d, device::wgmma_descriptor(device::shared_address(tile_a) + at, ALONG_K, CORE, 0),
                                device::wgmma_descriptor(device::shared_address(tile_b) + at, ALONG_K, CORE, 0), k > 0);
  }
  device::wgmma_commit();
  device::wgmma_wait<0>();
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  for (int i = 0; i < 32; ++i) c[(warp * 16 + lane / 4 + i / 2 % 2 * 8) * 64 + i / 4 * 8 + lane % 4 * 2 + i % 2] = d[i];
#endif
}

CASE(wgmma_tf32) {
  const auto a = whole_numbers(64 * 32, 10), b = whole_numbers(32 * 64, 11);
  Buffer<float> input_a(a), input_b(transposed(b, 32, 64)), c(64 * 64);
  launch(wgmma_tf32_kernel, 1, 128, 0, input_a.data(), input_b.data(), c.data());
  expect_equal(c.get(), product(a, b, 64, 64, 32));
}

}  // namespace
