// Rows of a table by index, and their gradient: the sum of dy over the positions of each row, in a fixed order. `order`
// sorts the positions by row, so that those of a row form a run. Each chunk of CHUNK positions is summed separately
// (chunks), then runs that span several chunks are joined (joins). An index out of range reads NaN and has no gradient.
// Grid: y rows or chunks (striding if they exceed the grid's limit), x their columns, PACK per thread.
#include <algorithm>

#include "core/export.h"
#include "prim/elementwise.h"

namespace gpudl {
namespace {

using namespace prim;

constexpr int BLOCK = 128;
constexpr int CHUNK = 32;
constexpr int MAX_GRID_Y = 65535;

using Index = View<const int64_t, 1, rows>;

// sass: embedding_forward_kernel LDG STG registers<=32
template <int PACK>
__global__ void __launch_bounds__(BLOCK)
    embedding_forward_kernel(View<const float, 2> weight, Index index, View<float, 2, rows> y) {
  const int column = (blockIdx.x * BLOCK + threadIdx.x) * PACK;
  if (column >= weight.dim[1]) return;
  for (int t = blockIdx.y; t < index.dim[0]; t += gridDim.y) {
    const int64_t row = index.data[t];
    Pack<float, PACK> found;
    for (float& value : found.at) value = NAN;
    if (row >= 0 && row < weight.dim[0]) found = load_pack<PACK>(&weight(static_cast<int>(row), column));
    store_pack(&y(t, column), found);
  }
}

// The positions of the table's rows, sorted.
struct Sorted {
  const int64_t *index, *order;
  int count;

  GPUDL_DEVICE int64_t row(int position) const { return index[order[position]]; }
  // Whether the run of `position` continues after it.
  GPUDL_DEVICE bool continues(int position) const { return position + 1 < count && row(position) == row(position + 1); }
};

struct Table {
  View<float, 2> gradient;
  int64_t padding;  // a row without a gradient

  template <int PACK>
  GPUDL_DEVICE void store(int64_t row, int column, const Pack<float, PACK>& sum) const {
    if (row >= 0 && row < gradient.dim[0] && row != padding) store_pack(&gradient(static_cast<int>(row), column), sum);
  }
};

template <int PACK>
GPUDL_DEVICE void add_pack(Pack<float, PACK>& sum, const float* from) {
  const auto more = load_pack<PACK>(from);
#pragma unroll
  for (int i = 0; i < PACK; ++i) sum.at[i] += more.at[i];
}

// Sums of runs inside a chunk go to the table, of a run that starts before it to its part 0, of one that continues
// after it to part 1.
// sass: embedding_chunks_kernel LDG STG registers<=64
template <int PACK>
__global__ void __launch_bounds__(BLOCK)
    embedding_chunks_kernel(View<const float, 2, rows> dy, Sorted sorted, Table table, float* parts) {
  const int columns = dy.dim[1], column = (blockIdx.x * BLOCK + threadIdx.x) * PACK;
  if (column >= columns) return;
  for (int chunk = blockIdx.y; chunk * CHUNK < sorted.count; chunk += gridDim.y) {
    const int first = chunk * CHUNK, last = min(first + CHUNK, sorted.count);
    bool before = first > 0 && sorted.continues(first - 1);
    float* part = parts + static_cast<int64_t>(chunk) * 2 * columns + column;
    Pack<float, PACK> sum{};
    for (int position = first; position < last; ++position) {
      add_pack<PACK>(sum, &dy(static_cast<int>(sorted.order[position]), column));
      const bool more = sorted.continues(position);
      if (more && position + 1 < last) continue;
      if (before) store_pack(part, sum);
      else if (more) store_pack(part + columns, sum);
      else table.store<PACK>(sorted.row(position), column, sum);
      before = false;
      sum = {};
    }
  }
}

// Add the parts of a run that starts in this chunk and continues, in order.
// sass: embedding_joins_kernel LDG STG registers<=64
template <int PACK>
__global__ void __launch_bounds__(BLOCK)
    embedding_joins_kernel(const float* parts, Sorted sorted, Table table, int columns) {
  const int column = (blockIdx.x * BLOCK + threadIdx.x) * PACK;
  if (column >= columns) return;
  for (int chunk = blockIdx.y; (chunk + 1) * CHUNK < sorted.count; chunk += gridDim.y) {
    const int first = chunk * CHUNK, last = first + CHUNK - 1;
    const int64_t row = sorted.row(last);
    // Positions are sorted: if the chunk's last row equals the row before the chunk, the run started earlier.
    if (!sorted.continues(last) || (first > 0 && sorted.row(first - 1) == row)) continue;
    Pack<float, PACK> sum = load_pack<PACK>(parts + (static_cast<int64_t>(chunk) * 2 + 1) * columns + column);
    int next = chunk + 1;
    do {
      add_pack<PACK>(sum, parts + static_cast<int64_t>(next) * 2 * columns + column);
      ++next;
    } while (next * CHUNK < sorted.count && sorted.row(next * CHUNK) == row);
    table.store<PACK>(row, column, sum);
  }
}

__global__ void __launch_bounds__(BLOCK) embedding_clear_kernel(float* data, int64_t count) {
  const int64_t at = static_cast<int64_t>(blockIdx.x) * BLOCK + threadIdx.x;
  if (at < count) data[at] = 0;
}

bool four(int columns, const float* a, const float* b, const float* c) {
  return columns % 4 == 0 && is_aligned<4>(a) && is_aligned<4>(b) && is_aligned<4>(c);
}

dim3 grid_of(int columns, int pack, int count) {
  const int blocks = (columns / pack + BLOCK - 1) / BLOCK;
  return dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(std::min(count, MAX_GRID_Y)));
}

void embedding_forward_rows(View<const float, 2> weight, Index index, View<float, 2, rows> y) {
  const int columns = weight.dim[1];
  const bool packs = four(columns, weight.data, y.data, y.data);
  launch(packs ? embedding_forward_kernel<4> : embedding_forward_kernel<1>,
         grid_of(columns, packs ? 4 : 1, index.dim[0]), BLOCK, 0, weight, index, y);
}
GPUDL_EXPORT(embedding, forward, rows, weight, index, y);

void embedding_backward_rows(View<const float, 2, rows> dy, Index index, Index order, View<float, 2> dweight,
                             int64_t padding_idx, View<float, 1> workspace) {
  const Sorted sorted{index.data, order.data, index.dim[0]};
  const Table table{dweight, padding_idx};
  const int columns = dweight.dim[1], chunks = (sorted.count + CHUNK - 1) / CHUNK;
  const bool packs = four(columns, dy.data, dweight.data, workspace.data);
  const dim3 grid = grid_of(columns, packs ? 4 : 1, chunks);
  launch(embedding_clear_kernel, dim3(static_cast<unsigned>((dweight.size() + BLOCK - 1) / BLOCK)), BLOCK, 0,
         dweight.data, dweight.size());
  launch(packs ? embedding_chunks_kernel<4> : embedding_chunks_kernel<1>, grid, BLOCK, 0, dy, sorted, table,
         workspace.data);
  launch(packs ? embedding_joins_kernel<4> : embedding_joins_kernel<1>, grid, BLOCK, 0,
         static_cast<const float*>(workspace.data), sorted, table, columns);
}

// Two rows of partial sums per chunk.
int64_t embedding_backward_workspace(Index index, View<const float, 2> dweight) {
  return int64_t{2} * ((index.dim[0] + CHUNK - 1) / CHUNK) * dweight.dim[1];
}
GPUDL_EXPORT(embedding, backward, rows, dy, index, order, dweight, padding_idx, workspace)
    .workspace<embedding_backward_workspace>("index, dweight");

}  // namespace
}  // namespace gpudl
