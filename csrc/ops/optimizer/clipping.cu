// The norm of a gradient, and limiting gradients by it or by value, without the host in between: the norm stays on the
// device, and the kernel that scales reads it there.
#include "core/export.h"
#include "prim/elementwise.h"
#include "prim/reduce.h"

namespace gpudl {
namespace {

using prim::Flat;
using prim::MAP_BLOCK;

constexpr int NORM_PARTS = 1024;         // blocks at most; one block of as many threads adds their sums
constexpr int64_t NORM_ALONE = 1 << 13;  // elements that one block does by itself

enum class Norm { sum, squares, largest, powers };

Norm norm_of(double p) {
  return p == 1 ? Norm::sum : p == 2 ? Norm::squares : p == INFINITY ? Norm::largest : Norm::powers;
}

// Sums are double: squares of float32 neither overflow nor vanish in them. Powers other than 1 and 2 are float32's.
struct Power {
  Norm norm;
  float p;
  GPUDL_DEVICE double of(float x) const {
    const float size = fabsf(x);
    const double exact = size;
    return norm == Norm::squares ? exact * exact : norm == Norm::powers ? powf(size, p) : exact;
  }
  GPUDL_DEVICE double operator()(double a, double b) const { return norm == Norm::largest ? prim::Max{}(a, b) : a + b; }
  GPUDL_DEVICE float root(double total) const {
    if (norm == Norm::powers) return powf(static_cast<float>(total), 1 / p);
    return static_cast<float>(norm == Norm::squares ? sqrt(total) : total);
  }
};

// part[block] = the sum of |x|^p over the block's elements, or *y the norm where there is but one block.
// sass: norm_kernel LDG SHFL registers<=64
template <int PACK>
__global__ void __launch_bounds__(MAP_BLOCK)
    norm_kernel(Power power, const float* x, int64_t n, double* part, float* y) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * MAP_BLOCK * PACK;
  int64_t first = (static_cast<int64_t>(blockIdx.x) * MAP_BLOCK + threadIdx.x) * PACK;
  double sum = 0;
  for (; first + PACK <= n; first += stride) {
    const auto loaded = prim::load_pack<PACK>(x + first);
#pragma unroll
    for (int i = 0; i < PACK; ++i) sum = power(sum, power.of(loaded.at[i]));
  }
  if constexpr (PACK > 1)
    for (; first < n; ++first) sum = power(sum, power.of(x[first]));
  sum = prim::block_reduce<MAP_BLOCK>(sum, power);
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1) *y = power.root(sum);
  else part[blockIdx.x] = sum;
}

// *y = the norm, from the blocks' sums. One block.
// sass: norm_parts_kernel SHFL registers<=64
__global__ void __launch_bounds__(NORM_PARTS) norm_parts_kernel(Power power, const double* part, int parts, float* y) {
  const double mine = static_cast<int>(threadIdx.x) < parts ? part[threadIdx.x] : 0.;
  const double sum = prim::block_reduce<NORM_PARTS>(mine, power);
  if (threadIdx.x == 0) *y = power.root(sum);
}

void vector_norm_forward_flat(Flat<const float> x, Flat<float> y, View<float, 1> workspace, double ord) {
  const Power power{norm_of(ord), static_cast<float>(ord)};
  const int64_t n = x.size(), each = MAP_BLOCK * 16;
  const int blocks = n <= NORM_ALONE ? 1 : static_cast<int>(std::min<int64_t>((n + each - 1) / each, NORM_PARTS));
  double* part = reinterpret_cast<double*>(workspace.data);
  if (prim::is_aligned<4>(x.data)) launch(norm_kernel<4>, blocks, MAP_BLOCK, 0, power, x.data, n, part, y.data);
  else launch(norm_kernel<1>, blocks, MAP_BLOCK, 0, power, x.data, n, part, y.data);
  if (blocks > 1) launch(norm_parts_kernel, 1, NORM_PARTS, 0, power, part, blocks, y.data);
}
GPUDL_EXPORT(vector_norm, forward, flat, x, y, workspace, ord);

// x *= min(1, max_norm / (norm + 1e-6)); where that is 1, no memory is touched.
// sass: clip_norm_kernel LDG STG registers<=32
template <int PACK>
__global__ void __launch_bounds__(MAP_BLOCK) clip_norm_kernel(float* x, int64_t n, const float* norm, float max_norm) {
  const float factor = __fdiv_rn(max_norm, *norm + 1e-6f);
  if (factor >= 1) return;
  const int64_t stride = static_cast<int64_t>(gridDim.x) * MAP_BLOCK * PACK;
  int64_t first = (static_cast<int64_t>(blockIdx.x) * MAP_BLOCK + threadIdx.x) * PACK;
  for (; first + PACK <= n; first += stride) {
    auto pack = prim::load_pack<PACK>(x + first);
#pragma unroll
    for (int i = 0; i < PACK; ++i) pack.at[i] *= factor;
    prim::store_pack<PACK>(x + first, pack);
  }
  if constexpr (PACK > 1)
    for (; first < n; ++first) x[first] *= factor;
}

void clip_norm_forward_flat(Flat<float> x, View<const float, 1, rows> norm, float max_norm) {
  const int64_t n = x.size();
  if (prim::is_aligned<4>(x.data))
    launch(clip_norm_kernel<4>, prim::map_blocks<4>(n), MAP_BLOCK, 0, x.data, n, norm.data, max_norm);
  else launch(clip_norm_kernel<1>, prim::map_blocks<1>(n), MAP_BLOCK, 0, x.data, n, norm.data, max_norm);
}
GPUDL_EXPORT(clip_norm, forward, flat, x, norm, max_norm);

// x limited to [-bound, bound]; NaN stays.
// sass: map_kernel LDG STG registers<=32
struct Limit {
  float bound;
  GPUDL_DEVICE float operator()(float x) const { return x > bound ? bound : x < -bound ? -bound : x; }
};

void clip_value_forward_flat(Flat<float> x, float bound) {
  prim::map(Limit{bound}, x, Flat<const float>{x.data, {x.dim[0]}});
}
GPUDL_EXPORT(clip_value, forward, flat, x, bound);

}  // namespace
}  // namespace gpudl
