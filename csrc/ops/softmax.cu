// softmax and log_softmax over the last axis, forward and backward: a group of threads a row (prim/rows.h), which reads
// its row two or three times, all but the first from cache.
#include "core/export.h"
#include "prim/rows.h"

namespace gpudl {
namespace {

using prim::Row;
using prim::ROW_BLOCK;
template <class T>
using Rows = View<T, 2, rows>;

// y = exp(x - max) / sum, or its logarithm. A NaN or a positive infinity makes the whole row NaN, as in PyTorch.
// sass: softmax_forward_rows_kernel SHFL MUFU registers<=64
template <bool LOG, int WIDTH>
__global__ void __launch_bounds__(ROW_BLOCK, 4) softmax_forward_rows_kernel(Rows<const float> x, Rows<float> y) {
  const Row<WIDTH> row(x.dim[0], x.dim[1]);
  const float* in = x.data + row.index * x.dim[1];
  float* out = y.data + row.index * y.dim[1];
  const auto [maximum, sum] = prim::log_sum(row, in);
  if constexpr (LOG) {
    const float logarithm = logf(sum);
    row.for_each([&](int c) { out[c] = in[c] - maximum - logarithm; });
  } else {
    row.for_each([&](int c) { out[c] = expf(in[c] - maximum) / sum; });
  }
}

// dx = y * (dy - sum(dy * y)); of the logarithm: dx = dy - exp(y) * sum(dy).
// sass: softmax_backward_rows_kernel SHFL registers<=64
template <bool LOG, int WIDTH>
__global__ void __launch_bounds__(ROW_BLOCK, 4)
    softmax_backward_rows_kernel(Rows<const float> dy, Rows<const float> y, Rows<float> dx) {
  const Row<WIDTH> row(y.dim[0], y.dim[1]);
  const int64_t start = row.index * y.dim[1];
  const float *gradient = dy.data + start, *result = y.data + start;
  float* out = dx.data + start;
  const float sum = row.reduce(prim::Sum{}, 0.f, [&](int c) { return LOG ? gradient[c] : gradient[c] * result[c]; });
  row.for_each([&](int c) { out[c] = LOG ? gradient[c] - expf(result[c]) * sum : result[c] * (gradient[c] - sum); });
}

template <bool LOG>
void forward(Rows<const float> x, Rows<float> y) {
  prim::for_width(x.dim[1], [&](auto width) {
    launch(softmax_forward_rows_kernel<LOG, width()>, prim::blocks_for_rows<width()>(x.dim[0]), ROW_BLOCK, 0, x, y);
  });
}

template <bool LOG>
void backward(Rows<const float> dy, Rows<const float> y, Rows<float> dx) {
  prim::for_width(y.dim[1], [&](auto width) {
    launch(softmax_backward_rows_kernel<LOG, width()>, prim::blocks_for_rows<width()>(y.dim[0]), ROW_BLOCK, 0, dy, y,
           dx);
  });
}

void softmax_forward_rows(Rows<const float> x, Rows<float> y) { forward<false>(x, y); }
GPUDL_EXPORT(softmax_forward_rows, x, y);

void softmax_backward_rows(Rows<const float> dy, Rows<const float> y, Rows<float> dx) { backward<false>(dy, y, dx); }
GPUDL_EXPORT(softmax_backward_rows, dy, y, dx);

void log_softmax_forward_rows(Rows<const float> x, Rows<float> y) { forward<true>(x, y); }
GPUDL_EXPORT(log_softmax_forward_rows, x, y);

void log_softmax_backward_rows(Rows<const float> dy, Rows<const float> y, Rows<float> dx) { backward<true>(dy, y, dx); }
GPUDL_EXPORT(log_softmax_backward_rows, dy, y, dx);

}  // namespace
}  // namespace gpudl
