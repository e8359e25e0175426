// The sum of f(i, in[i], …) over all i, in an order that depends only on the count: each block writes one number, then
// one block adds those. A single launch if one block suffices.
//
//   prim::map_sum(SquaredDistance{}, y, divisor, workspace, x, target);   // *y = sum / divisor
#pragma once
#include "prim/elementwise.h"
#include "prim/reduce.h"

namespace gpudl::prim {

constexpr int SUM_BLOCK = 256;
constexpr int SUM_PARTS = 1024;         // most blocks: one block of as many threads adds their sums
constexpr int64_t SUM_ALONE = 1 << 13;  // elements that one block sums faster than a second launch would

// Write part[block], or *y if there is only one block. Threads stride over the packs.
template <int PACK, class F, class... In>
__global__ void __launch_bounds__(SUM_BLOCK)
    map_sum_kernel(F f, int64_t n, float* part, float* y, float divisor, const In*... in) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * SUM_BLOCK * PACK;
  int64_t first = (static_cast<int64_t>(blockIdx.x) * SUM_BLOCK + threadIdx.x) * PACK;
  float sum = 0;
#pragma unroll 2
  for (; first + PACK <= n; first += stride) {
    const auto add = [&](const auto&... loaded) {
      float pack = f(first, loaded.at[0]...);
#pragma unroll
      for (int i = 1; i < PACK; ++i) pack += f(first + i, loaded.at[i]...);
      sum += pack;
    };
    add(load_pack<PACK>(in + first)...);
  }
  if constexpr (PACK > 1)
    for (int64_t i = first; i < n; ++i) sum += f(i, in[i]...);
  sum = block_reduce<SUM_BLOCK>(sum, Sum{});
  if (threadIdx.x != 0) return;
  if (gridDim.x == 1) *y = sum / divisor;
  else part[blockIdx.x] = sum;
}

// *y = sum of the parts / divisor. One block.
static __global__ void __launch_bounds__(SUM_PARTS)
    sum_parts_kernel(const float* part, int parts, float divisor, float* y) {
  const float mine = static_cast<int>(threadIdx.x) < parts ? part[threadIdx.x] : 0.f;
  const float sum = block_reduce<SUM_PARTS>(mine, Sum{});
  if (threadIdx.x == 0) *y = sum / divisor;
}

// workspace: SUM_PARTS floats. An empty sum is 0.
template <class F, class... In>
void map_sum(F f, float* y, float divisor, float* workspace, Flat<const In>... in) {
  constexpr int PACK = PACK_OF<In...>;
  const int64_t n = std::min({in.size()...});
  const bool aligned = (is_aligned<PACK>(in.data) && ...);
  const int64_t each = SUM_BLOCK * PACK * 4;  // elements per block, if that needs no more than SUM_PARTS blocks
  const int blocks = n <= SUM_ALONE ? 1 : static_cast<int>(std::min<int64_t>((n + each - 1) / each, SUM_PARTS));
  if (aligned) launch(map_sum_kernel<PACK, F, In...>, blocks, SUM_BLOCK, 0, f, n, workspace, y, divisor, in.data...);
  else launch(map_sum_kernel<1, F, In...>, blocks, SUM_BLOCK, 0, f, n, workspace, y, divisor, in.data...);
  if (blocks > 1) launch(sum_parts_kernel, 1, SUM_PARTS, 0, workspace, blocks, divisor, y);
}

}  // namespace gpudl::prim
