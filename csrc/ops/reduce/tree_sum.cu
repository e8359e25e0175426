// Sums and means over adjacent axes of an array seen as (outer, n, inner): y[o,i] = Σ x[o,n,i]. One read of x. Sums
// form a fixed tree: over a thread, then its group or block. If few sums would leave the device idle, n is split into
// parts, which are added afterwards.
#include "core/export.h"
#include "prim/channels.h"
#include "prim/held_rows.h"

namespace gpudl {
namespace {

using namespace prim;

constexpr int BLOCK = CHUNK_BLOCK;
constexpr int MAX_PARTIAL = 2048;  // partial sums
constexpr int PART = 4096;         // numbers that justify a separate block

// y[row] = scale·Σ x[row]. A group of threads per row.
// sass: tree_sum_rows_kernel SHFL registers<=64
template <class R>
__global__ void __launch_bounds__(HELD_BLOCK, 4)
    tree_sum_rows_kernel(int rows, int columns, const float* x, float* y, float scale) {
  const R row(rows, columns);
  float sum = 0;
  row.each([&](int, float v) { sum += v; }, row.load(x));
  sum = row.reduce(sum, Sum{});
  if (row.inside && row.lane == 0) y[row.index] = sum * scale;
}

// partial[row, part] = sum of a part of a row. Grid: (parts, rows).
// sass: tree_sum_parts_kernel SHFL registers<=40
template <bool ALIGNED>
__global__ void __launch_bounds__(BLOCK) tree_sum_parts_kernel(int columns, int each, const float* x, float* partial) {
  const float* const row = x + static_cast<int64_t>(blockIdx.y) * columns;
  const int first = blockIdx.x * each, last = min(columns, first + each);
  float sum = 0;
#pragma unroll 4
  for (int column = first + 4 * static_cast<int>(threadIdx.x); column < last; column += 4 * BLOCK) {
    const Four four = load_four<ALIGNED>(row + column, last - column);
    sum += (four.at[0] + four.at[1]) + (four.at[2] + four.at[3]);
  }
  sum = block_reduce<BLOCK>(sum, Sum{});
  if (threadIdx.x == 0) partial[static_cast<int64_t>(blockIdx.y) * gridDim.x + blockIdx.x] = sum;
}

// y[o, part, c] = scale·Σ x[o, n, c] over every parts-th n. Grid: outer·parts·tiles, tile fastest.
// sass: tree_sum_columns_kernel registers<=64
template <bool ALIGNED>
__global__ void __launch_bounds__(BLOCK, 4)
    tree_sum_columns_kernel(ChannelRows m, int parts, const float* x, float* y, float scale) {
  GPUDL_SHARED(Four, shared, [BLOCK]);
  const int line = static_cast<int>(blockIdx.x) / m.tiles();
  const ChannelPlace place(m, static_cast<int>(blockIdx.x) % m.tiles());
  const int outer = line / parts, part = line % parts;
  const float* const from = x + outer * m.rows * m.channels + place.channel;
  const int64_t step = static_cast<int64_t>(parts) * m.lanes;
  Four sums{};
  if (place.count > 0)
#pragma unroll 4
    for (int64_t row = static_cast<int64_t>(part) * m.lanes + place.lane; row < m.rows; row += step)
      sums = AddPacks{}(sums, load_four<ALIGNED>(from + row * m.channels, place.count));
  sums = combine_lanes(m, sums, shared, AddPacks{});
  if (place.lane != 0 || place.count == 0) return;
#pragma unroll
  for (int c = 0; c < 4; ++c) sums.at[c] *= scale;
  store_four<ALIGNED>(y + static_cast<int64_t>(line) * m.channels + place.channel, sums, place.count);
}

// dx[o,n,i] = scale·dy[o,i], four elements per thread. n: the n·inner numbers between one o and the next.
// sass: tree_sum_backward_kernel registers<=40
template <bool ALIGNED>
__global__ void __launch_bounds__(BLOCK)
    tree_sum_backward_kernel(int size, int slab, int inner, const float* dy, float* dx, float scale) {
  const int64_t first = (static_cast<int64_t>(blockIdx.x) * BLOCK + threadIdx.x) * 4;
  if (first >= size) return;
  const int count = static_cast<int>(min(int64_t{4}, size - first));
  Four four{};
  for (int c = 0; c < count; ++c) {
    const int at = static_cast<int>(first) + c;
    four.at[c] = scale * dy[at / slab * inner + at % inner];
  }
  store_four<ALIGNED>(dx + first, four, count);
}

void sum_rows(int rows, int columns, const float* x, float* y, float scale) {
  for_rows_of(
      columns,
      [&](auto* kind) {
        using R = std::remove_pointer_t<decltype(kind)>;
        launch(tree_sum_rows_kernel<R>, R::grid(rows), HELD_BLOCK, 0, rows, columns, x, y, scale);
      },
      x);
}

void sum_columns(int outer, int n, int inner, int parts, const float* x, float* y, float scale) {
  ChannelRows m = ChannelRows::of(View<const float, 2>{x, {n, inner}}, BLOCK, CHUNK_COLUMNS);
  const bool wide = inner % 4 == 0 && is_aligned<4>(x) && is_aligned<4>(y);
  launch(wide ? tree_sum_columns_kernel<true> : tree_sum_columns_kernel<false>,
         dim3(static_cast<unsigned>(outer) * parts * m.tiles()), BLOCK, 0, m, parts, x, y, scale);
}

// Number of parts of n for `sums` sums over `numbers` numbers, with room for so many partial sums.
int parts_of(int64_t sums, int64_t numbers, int64_t room) {
  if (sums == 0) return 1;
  const int64_t most = std::min<int64_t>(room, MAX_PARTIAL) / sums, enough = (numbers + PART - 1) / PART;
  return static_cast<int>(std::max<int64_t>(1, std::min(most, enough)));
}

void forward(const float* x, float* y, const View<float, 1>& workspace, Triple split, bool mean) {
  const auto [outer, n, inner] = split;
  const float scale = mean ? 1.f / static_cast<float>(n) : 1.f;
  if (outer == 0 || inner == 0) return;
  float* const partial = workspace.data;
  if (inner == 1) {
    const int parts = parts_of(outer, n, workspace.size());
    if (parts == 1) return sum_rows(outer, n, x, y, scale);
    const int each = ((n + parts - 1) / parts + 3) / 4 * 4;
    const bool wide = n % 4 == 0 && is_aligned<4>(x);
    launch(wide ? tree_sum_parts_kernel<true> : tree_sum_parts_kernel<false>, dim3(parts, outer), BLOCK, 0, n, each, x,
           partial);
    return sum_rows(outer, parts, partial, y, scale);
  }
  const int parts =
      parts_of(static_cast<int64_t>(outer) * inner, static_cast<int64_t>(n) * std::min(inner, 128), workspace.size());
  if (parts == 1) return sum_columns(outer, n, inner, 1, x, y, scale);
  sum_columns(outer, n, inner, parts, x, partial, 1);
  sum_columns(outer, parts, inner, 1, partial, y, scale);
}

void backward(const float* dy, float* dx, Triple split, bool mean) {
  const auto [outer, n, inner] = split;
  const int slab = n * inner, size = outer * slab;
  const float scale = mean ? 1.f / static_cast<float>(n) : 1.f;
  const dim3 grid(static_cast<unsigned>((static_cast<int64_t>(size) + 4 * BLOCK - 1) / (4 * BLOCK)));
  const bool wide = size % 4 == 0 && is_aligned<4>(dx);
  launch(wide ? tree_sum_backward_kernel<true> : tree_sum_backward_kernel<false>, grid, BLOCK, 0, size, slab, inner, dy,
         dx, scale);
}

int64_t tree_sum_workspace() { return MAX_PARTIAL; }

void tree_sum_forward_rows(View<const float, 1, rows> x, View<float, 1, rows> y, View<float, 1> workspace, Triple split,
                           bool mean) {
  forward(x.data, y.data, workspace, split, mean);
}
GPUDL_EXPORT(tree_sum, forward, rows, x, y, workspace, split, mean).workspace<tree_sum_workspace>("");

void tree_sum_backward_rows(View<const float, 1, rows> dy, View<float, 1, rows> dx, Triple split, bool mean) {
  backward(dy.data, dx.data, split, mean);
}
GPUDL_EXPORT(tree_sum, backward, rows, dy, dx, split, mean);

// For channels-last tensors, summed over all positions.
void tree_sum_forward_nhwc(View<const float, 5, nhwc> x, View<float, 1, rows> y, View<float, 1> workspace, Triple split,
                           bool mean) {
  forward(x.data, y.data, workspace, split, mean);
}
GPUDL_EXPORT(tree_sum, forward, nhwc, x, y, workspace, split, mean).workspace<tree_sum_workspace>("");

void tree_sum_backward_nhwc(View<const float, 1, rows> dy, View<float, 5, nhwc> dx, Triple split, bool mean) {
  backward(dy.data, dx.data, split, mean);
}
GPUDL_EXPORT(tree_sum, backward, nhwc, dy, dx, split, mean);

}  // namespace
}  // namespace gpudl
