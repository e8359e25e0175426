// Matrix products by TMA and wgmma (sm_90a): every tile shape, operand order and element type against plain loops.
#include <array>

#include "core/check.cpp"
#include "core/registry.cpp"
#include "harness.h"
#include "prim/gemm/gemm_wgmma.h"

using namespace gpudl;
using harness::Buffer;
using harness::expect_equal;
using harness::product;
using harness::transposed;
using harness::whole_numbers;

namespace {

constexpr int LARGE = 1, MEDIUM = 2, SMALL = 3;

struct Problem {
  int m, n, k;
  bool a_transposed = false, b_transposed = false;
  int batch = 1, pieces = 1;
  bool bias = false, residual = false, relu = false;
};

template <class T>
std::vector<float> stored(const std::vector<float>& x, int rows, int columns, bool transpose, int batch) {
  if (!transpose) return x;
  std::vector<float> all;
  for (int i = 0; i < batch; ++i) {
    const auto first = x.begin() + i * rows * columns;
    const auto one = transposed({first, first + rows * columns}, rows, columns);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

template <class T>
std::vector<float> expected_of(const Problem& p, const std::vector<float>& a, const std::vector<float>& b,
                               const std::vector<float>& bias, const std::vector<float>& residual) {
  std::vector<float> all;
  for (int i = 0; i < p.batch; ++i) {
    const auto a_first = a.begin() + i * p.m * p.k, b_first = b.begin() + i * p.k * p.n;
    const auto c = product({a_first, a_first + p.m * p.k}, {b_first, b_first + p.k * p.n}, p.m, p.n, p.k);
    all.insert(all.end(), c.begin(), c.end());
  }
  for (size_t i = 0; i < all.size(); ++i) {
    if (p.bias) all[i] += bias[i % p.n];
    if (p.residual) all[i] += residual[i];
    if (p.relu && all[i] < 0) all[i] = 0;
  }
  std::vector<float> result;
  for (const T value : harness::rounded<T>(all)) result.push_back(prim::as_float(value));
  return result;
}

template <class T>
void check_gemm(int tile_shape, const Problem& p) {
  const auto a = whole_numbers(p.batch * p.m * p.k, 1), b = whole_numbers(p.batch * p.k * p.n, 2);
  const auto bias = whole_numbers(p.n, 3), residual = whole_numbers(p.batch * p.m * p.n, 4);
  Buffer<T> a_stored(harness::rounded<T>(stored<T>(a, p.m, p.k, p.a_transposed, p.batch)));
  Buffer<T> b_stored(harness::rounded<T>(stored<T>(b, p.k, p.n, p.b_transposed, p.batch)));
  Buffer<T> bias_stored(harness::rounded<T>(bias)), residual_stored(harness::rounded<T>(residual));
  Buffer<T> c(static_cast<size_t>(p.batch) * p.m * p.n, T{});
  const int mask_bytes = (p.n + 7) / 8;
  Buffer<uint8_t> mask(static_cast<size_t>(p.m) * mask_bytes, 0xff);
  Buffer<float> partials(p.pieces > 1 ? static_cast<size_t>(p.pieces) * p.batch * p.m * p.n : 0);
  prim::Gemm<T> g{.m = p.m, .n = p.n, .k = p.k, .batch = p.batch};
  g.a = {a_stored.data(), p.a_transposed ? p.m : p.k, int64_t{p.m} * p.k, p.a_transposed};
  g.b = {b_stored.data(), p.b_transposed ? p.k : p.n, int64_t{p.k} * p.n, p.b_transposed};
  g.c = {c.data(), p.n, int64_t{p.m} * p.n};
  g.epilogue.bias = p.bias ? bias_stored.data() : nullptr;
  g.epilogue.residual = p.residual ? residual_stored.data() : nullptr;
  g.epilogue.activation = p.relu ? prim::Activation::relu : prim::Activation::none;
  if (p.relu) g.epilogue.mask = mask.data(), g.epilogue.mask_bytes = mask_bytes;
  if (p.pieces > 1) g.workspace = {partials.data(), {p.pieces * p.batch * p.m * p.n}};
  g.tile_shape = tile_shape;
  if (!prim::gemm_wgmma_fits(g)) throw std::runtime_error("WRONG: refused");
  if constexpr (std::is_same_v<T, float16>) {  // one memory order only, as each is another kernel to compile
    using Rows = prim::GemmStrided<T, true>;
    prim::gemm_wgmma_run(prim::Gemm<T, prim::GemmEpilogue<T>, Rows, Rows>{
        g.m, g.n, g.k, g.batch, {g.a, g.m}, {g.b, g.n}, g.c, g.epilogue, false, g.workspace, g.tile_shape});
  } else {
    prim::gemm_wgmma_with(g);
  }
  std::vector<float> actual;
  for (const T value : c.get()) actual.push_back(prim::as_float(value));
  const std::vector<float> expected = expected_of<T>(p, a, b, bias, residual);
  expect_equal(actual, expected);
  if (!p.relu) return;
  std::vector<uint8_t> bits(static_cast<size_t>(p.m) * mask_bytes);
  for (int i = 0; i < p.m * p.n; ++i)
    if (expected[i] > 0) bits[i / p.n * mask_bytes + i % p.n / 8] |= static_cast<uint8_t>(1 << (i % p.n % 8));
  expect_equal(mask.get(), bits);
}

CASE(gemm_large) {  // three rows of tiles: in the second cluster, the second block has nothing to store
  check_gemm<bfloat16>(LARGE, {.m = 300, .n = 264, .k = 200, .b_transposed = true, .bias = true});
  check_gemm<bfloat16>(LARGE, {.m = 136, .n = 72, .k = 72, .residual = true, .relu = true});
}

CASE(gemm_large_transposed) {
  check_gemm<bfloat16>(LARGE, {.m = 136, .n = 264, .k = 72, .a_transposed = true});
  check_gemm<bfloat16>(LARGE, {.m = 40, .n = 40, .k = 328, .a_transposed = true, .b_transposed = true, .batch = 2});
}

CASE(gemm_medium) {
  check_gemm<bfloat16>(MEDIUM, {.m = 200, .n = 264, .k = 136, .b_transposed = true, .batch = 2, .bias = true});
  check_gemm<bfloat16>(MEDIUM, {.m = 136, .n = 136, .k = 200, .a_transposed = true, .pieces = 2, .bias = true});
}

CASE(gemm_small) {
  check_gemm<bfloat16>(SMALL, {.m = 7, .n = 200, .k = 520, .b_transposed = true, .pieces = 3, .relu = true});
  check_gemm<bfloat16>(SMALL, {.m = 136, .n = 72, .k = 72, .batch = 2});
}

CASE(gemm_float16) {
  check_gemm<float16>(LARGE, {.m = 136, .n = 264, .k = 72, .b_transposed = true, .bias = true});
  check_gemm<float16>(SMALL, {.m = 72, .n = 72, .k = 72, .b_transposed = true});
}

CASE(gemm_tf32) {
  check_gemm<float>(LARGE, {.m = 150, .n = 260, .k = 68, .b_transposed = true, .bias = true});
  check_gemm<float>(MEDIUM, {.m = 130, .n = 132, .k = 100, .b_transposed = true, .residual = true});
  check_gemm<float>(SMALL, {.m = 70, .n = 70, .k = 132, .b_transposed = true, .pieces = 2});
}

// Nothing is launched, so there are no matrices.
CASE(gemm_too_long) {
  for (const auto& [m, n, k] :
       {std::array{8, 8, (1 << 30) + 1}, std::array{INT32_MAX, 8, 8}, std::array{8, 1 << 30, 8}}) {
    const prim::Gemm<float> g{.m = m, .n = n, .k = k};
    bool refused = false;
    try {
      prim::gemm_grid(g, 128, 128, 8);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    if (refused != (std::max({m, n, k}) > 1 << 30))
      throw std::runtime_error(refused ? "WRONG: refused" : "WRONG: accepted");
  }
}

}  // namespace
