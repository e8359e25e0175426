// The norm of a gradient, and clipping gradients by norm or by value without involving the host: the norm stays on the
// device, where the scaling kernel reads it.
#include "core/export.h"
#include "ops/optimizer/blocks.h"
#include "prim/reduce.h"

namespace gpudl {
namespace {

using prim::BlockPart;
using prim::Blocks;
using prim::Flat;
using prim::MAP_BLOCK;
using prim::Rows;

constexpr int NORM_THREADS = 1024;  // threads of the block that adds the blocks' sums

enum class Norm { sum, squares, largest, powers };

Norm norm_of(double p) {
  return p == 1 ? Norm::sum : p == 2 ? Norm::squares : p == INFINITY ? Norm::largest : Norm::powers;
}

// Sums are double, in which squares of float32 neither overflow nor underflow. Powers other than 1 and 2 are float32.
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

// part[block] = sum of |x|^p over the block's elements; or, with a single block, *y = the norm.
// sass: norm_kernel LDG SHFL registers<=64
template <int PACK>
__global__ void __launch_bounds__(MAP_BLOCK)
    norm_kernel(Power power, Flat<const float> x, Rows rows, Blocks blocks, double* part, float* y) {
  const BlockPart mine = prim::block_part(rows, blocks, x.size());
  const float* const at = mine.at(x.data, 0);
  double sum = 0;
  prim::for_part<PACK>(mine, prim::is_aligned_at<PACK>(at), [&](auto size, int first) {
    constexpr int N = decltype(size)::value;
    const auto loaded = prim::load_pack<N>(at + first);
#pragma unroll
    for (int i = 0; i < N; ++i) sum = power(sum, power.of(loaded.at[i]));
  });
  sum = prim::block_reduce<MAP_BLOCK>(sum, power);
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1) *y = power.root(sum);
  else part[blockIdx.x] = sum;
}

// *y = norm, from the blocks' sums. One block.
// sass: norm_parts_kernel SHFL registers<=64
__global__ void __launch_bounds__(NORM_THREADS)
    norm_parts_kernel(Power power, const double* part, int parts, float* y) {
  double mine = 0;
  for (int i = static_cast<int>(threadIdx.x); i < parts; i += NORM_THREADS) mine = power(mine, part[i]);
  const double sum = prim::block_reduce<NORM_THREADS>(mine, power);
  if (threadIdx.x == 0) *y = power.root(sum);
}

void vector_norm_forward_flat(Flat<const float> x, Rows rows, Blocks blocks, Flat<float> y, View<float, 1> workspace,
                              double ord) {
  const Power power{norm_of(ord), static_cast<float>(ord)};
  const unsigned parts = std::max(1u, prim::block_count(blocks, x.size()));
  double* const part = reinterpret_cast<double*>(workspace.data);
  launch(norm_kernel<4>, parts, MAP_BLOCK, 0, power, x, rows, blocks, part, y.data);
  if (parts > 1) launch(norm_parts_kernel, 1, NORM_THREADS, 0, power, part, static_cast<int>(parts), y.data);
}

// One double per block.
int64_t vector_norm_workspace(Flat<const float> x, Blocks blocks) { return 2 * prim::block_count(blocks, x.size()); }
GPUDL_EXPORT(vector_norm, forward, flat, x, rows, blocks, y, workspace, ord)
    .workspace<vector_norm_workspace>("x, blocks");

// x = f(x) for all elements.
template <int PACK, class F>
GPUDL_DEVICE void change_part(Flat<float> x, const Rows& rows, const Blocks& blocks, F f) {
  const BlockPart mine = prim::block_part(rows, blocks, x.size());
  float* const at = mine.at(x.data, 0);
  prim::for_part<PACK>(mine, prim::is_aligned_at<PACK>(at), [&](auto size, int first) {
    constexpr int N = decltype(size)::value;
    auto pack = prim::load_pack<N>(at + first);
#pragma unroll
    for (int i = 0; i < N; ++i) pack.at[i] = f(pack.at[i]);
    prim::store_pack<N>(at + first, pack);
  });
}

// x *= min(1, max_norm / (norm + 1e-6)); if the factor is 1, x is not accessed.
// sass: clip_norm_kernel LDG STG registers<=40
template <int PACK>
__global__ void __launch_bounds__(MAP_BLOCK)
    clip_norm_kernel(Flat<float> x, Rows rows, Blocks blocks, const float* norm, float max_norm) {
  const float factor = __fdiv_rn(max_norm, *norm + 1e-6f);
  if (factor >= 1) return;
  change_part<PACK>(x, rows, blocks, [factor](float value) { return value * factor; });
}

void clip_norm_forward_flat(Flat<float> x, View<const float, 1, Layout::rows> norm, Rows rows, Blocks blocks,
                            float max_norm) {
  launch(clip_norm_kernel<4>, prim::block_count(blocks, x.size()), MAP_BLOCK, 0, x, rows, blocks, norm.data, max_norm);
}
GPUDL_EXPORT(clip_norm, forward, flat, x, norm, rows, blocks, max_norm);

// x clamped to [-bound, bound]; NaN is unchanged.
// sass: clip_value_kernel LDG STG registers<=32
template <int PACK>
__global__ void __launch_bounds__(MAP_BLOCK) clip_value_kernel(Flat<float> x, Rows rows, Blocks blocks, float bound) {
  change_part<PACK>(x, rows, blocks, [bound](float value) {
    return value > bound ? bound : value < -bound ? -bound : value;
  });
}

void clip_value_forward_flat(Flat<float> x, Rows rows, Blocks blocks, float bound) {
  launch(clip_value_kernel<4>, prim::block_count(blocks, x.size()), MAP_BLOCK, 0, x, rows, blocks, bound);
}
GPUDL_EXPORT(clip_value, forward, flat, x, rows, blocks, bound);

}  // namespace
}  // namespace gpudl
