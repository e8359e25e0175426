// Shared by classification losses: labels, and sums over rows in one launch, or in two of fixed order.
#pragma once
#include "core/view.h"
#include "prim/elementwise.h"
#include "prim/rows.h"

namespace gpudl::prim {

constexpr int LOSS_PARTS = 512;          // most blocks; one block adds their sums
constexpr int64_t LOSS_ALONE = 1 << 13;  // elements that one block sums faster than a second launch would

enum class Label { good, ignored, outside };

GPUDL_DEVICE Label judge(int64_t label, int64_t ignored, int classes) {
  if (label == ignored) return Label::ignored;
  return label >= 0 && label < classes ? Label::good : Label::outside;
}

// The destination of a reduced loss: y and the divisor of the mean, through the blocks' sums if there are several
// blocks.
struct LossTotal {
  float *y, *divisor, *part;
  bool averaged;

  GPUDL_DEVICE void write(float loss, float weight) const {
    *y = averaged ? loss / weight : loss;
    if (divisor) *divisor = averaged ? weight : 1.f;
  }
  // Called by every thread of the block with the sums of its rows' losses and weights.
  GPUDL_DEVICE void finish(float loss, float weight) const {
    loss = block_reduce<ROW_BLOCK>(loss, Sum{});
    weight = block_reduce<ROW_BLOCK>(weight, Sum{});
    if (threadIdx.x != 0) return;
    if (gridDim.x == 1) {
      write(loss, weight);
    } else {
      part[2 * blockIdx.x] = loss;
      part[2 * blockIdx.x + 1] = weight;
    }
  }
};

static __global__ void __launch_bounds__(LOSS_PARTS) loss_total_kernel(LossTotal total, int parts) {
  const bool mine = static_cast<int>(threadIdx.x) < parts;
  const float loss = block_reduce<LOSS_PARTS>(mine ? total.part[2 * threadIdx.x] : 0.f, Sum{});
  const float weight = block_reduce<LOSS_PARTS>(mine ? total.part[2 * threadIdx.x + 1] : 0.f, Sum{});
  if (threadIdx.x == 0) total.write(loss, weight);
}

// Elements of the workspace: the loss and the weight of each block.
inline int64_t loss_workspace(bool reduced) { return reduced ? 2 * LOSS_PARTS : 0; }

// Blocks for a kernel whose groups of WIDTH threads take rows in turn and end with LossTotal::finish.
template <int WIDTH>
int loss_blocks(int rows, int columns) {
  const int64_t all = blocks_for_rows<WIDTH>(rows).x;
  if (static_cast<int64_t>(rows) * columns <= LOSS_ALONE) return 1;
  return static_cast<int>(std::min<int64_t>(all, LOSS_PARTS));
}

inline void finish_loss(const LossTotal& total, int blocks) {
  if (blocks > 1) launch(loss_total_kernel, 1, LOSS_PARTS, 0, total, blocks);
}

// Call f(first column, float (&)[PACK]) for a row, PACK neighbours at a time. Columns must be a multiple of PACK.
template <int PACK, int WIDTH, class F>
GPUDL_DEVICE void for_packs(const Row<WIDTH>& row, const float* x, F f) {
#pragma unroll 2
  for (int c = row.lane * PACK; c < row.columns; c += WIDTH * PACK) f(c, load_pack<PACK>(x + c).at);
}

template <int PACK, int WIDTH>
GPUDL_DEVICE float log_sum_exp(const Row<WIDTH>& row, const float* x) {
  OnlineSum mine;
  for_packs<PACK>(row, x, [&](int, const auto& values) { mine.add(values); });
  mine = row.merge(mine, MergeOnline{});
  return mine.maximum + logf(mine.scaled);
}

// The rows that a group of threads takes in turn; all groups of a block iterate equally often.
template <int WIDTH, class F>
GPUDL_DEVICE void for_rows(int rows, int columns, F f) {
  constexpr int PER_BLOCK = ROW_BLOCK / WIDTH;
  Row<WIDTH> row(rows, columns);
  for (int64_t base = static_cast<int64_t>(blockIdx.x) * PER_BLOCK; base < rows; base += gridDim.x * PER_BLOCK) {
    row.index = base + threadIdx.x / WIDTH;
    row.inside = row.index < rows;
    row.columns = row.inside ? columns : 0;
    f(row);
  }
}

// Call run(width, pack) with the number of threads that suits a row and the elements they read at once.
template <class Run>
void for_row_shape(int columns, bool aligned, Run run) {
  const auto with_pack = [&](auto pack) {
    const int each = columns / pack();
    if (each <= 16) run(std::integral_constant<int, 8>{}, pack);
    else if (each <= 512) run(std::integral_constant<int, 32>{}, pack);
    else run(std::integral_constant<int, ROW_BLOCK>{}, pack);
  };
  if (aligned && columns % 4 == 0) with_pack(std::integral_constant<int, 4>{});
  else with_pack(std::integral_constant<int, 1>{});
}

}  // namespace gpudl::prim
