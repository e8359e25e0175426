// softmax and log_softmax over the last axis: a group of threads per row (prim/held_rows.h) reads its row once, 8 bytes
// per element forward, 12 backward. Rows of more than 4096 columns are read a second time, from the cache, after one
// pass that computes maximum and sum together (Milakov, Gimelshein 2018).
#include "core/export.h"
#include "prim/held_rows.h"

namespace gpudl {
namespace {

using namespace prim;
template <class T>
using Rows = View<T, 2, rows>;

// NaN or positive infinity makes the whole row NaN, as in PyTorch.
template <class R, class Values>
GPUDL_DEVICE OnlineSum exponentials_of(const R& row, const Values& values) {
  if constexpr (std::is_same_v<Values, Streamed>) {
    OnlineSum mine;
    row.each(
        [&](int, float x) {
          if (x > mine.maximum || x != x)
            mine = {x, mine.maximum == -INFINITY ? 0 : mine.scaled * expf(mine.maximum - x)};
          mine.scaled += x == -INFINITY ? 0.f : expf(x - mine.maximum);
        },
        values);
    const OnlineSum all = row.reduce(mine, MergeOnline{});
    return {all.maximum, all.maximum == -INFINITY ? NAN : all.scaled};
  } else {
    float maximum = -INFINITY, sum = 0;
    row.each([&](int, float x) { maximum = Max{}(maximum, x); }, values);
    maximum = row.reduce(maximum, Max{});
    row.each([&](int, float x) { sum += expf(x - maximum); }, values);
    return {maximum, row.reduce(sum, Sum{})};
  }
}

// y = exp(x - max) / sum, or its logarithm.
// sass: softmax_forward_rows_kernel SHFL MUFU registers<=64
template <bool LOG, class R>
__global__ void __launch_bounds__(HELD_BLOCK, 4) softmax_forward_rows_kernel(Rows<const float> x, Rows<float> y) {
  const R row(x.dim[0], x.dim[1]);
  const auto values = row.load(x.data);
  const auto [maximum, sum] = exponentials_of(row, values);
  if constexpr (LOG) {
    const float top = maximum, logarithm = logf(sum);
    row.write(y.data, [=](int, float v) { return v - top - logarithm; }, values);
  } else {
    const float top = maximum, share = __fdiv_rn(1.f, sum);
    row.write(y.data, [=](int, float v) { return expf(v - top) * share; }, values);
  }
}

// dx = y * (dy - sum(dy * y)); for the logarithm dx = dy - exp(y) * sum(dy).
// sass: softmax_backward_rows_kernel SHFL registers<=64
template <bool LOG, class R>
__global__ void __launch_bounds__(HELD_BLOCK, 4)
    softmax_backward_rows_kernel(Rows<const float> dy, Rows<const float> y, Rows<float> dx) {
  const R row(y.dim[0], y.dim[1]);
  const auto gradient = row.load(dy.data), result = row.load(y.data);
  float sum = 0;
  row.each([&](int, float g, float r) { sum += LOG ? g : g * r; }, gradient, result);
  sum = row.reduce(sum, Sum{});
  row.write(dx.data, [=](int, float g, float r) { return LOG ? g - expf(r) * sum : r * (g - sum); }, gradient, result);
}

template <bool LOG>
void forward(Rows<const float> x, Rows<float> y) {
  for_rows_of(
      x.dim[1],
      [&](auto* kind) {
        using R = std::remove_pointer_t<decltype(kind)>;
        launch(softmax_forward_rows_kernel<LOG, R>, R::grid(x.dim[0]), HELD_BLOCK, 0, x, y);
      },
      x.data, y.data);
}

template <bool LOG>
void backward(Rows<const float> dy, Rows<const float> y, Rows<float> dx) {
  for_rows_of(
      y.dim[1],
      [&](auto* kind) {
        using R = std::remove_pointer_t<decltype(kind)>;
        launch(softmax_backward_rows_kernel<LOG, R>, R::grid(y.dim[0]), HELD_BLOCK, 0, dy, y, dx);
      },
      dy.data, y.data, dx.data);
}

void softmax_forward_rows(Rows<const float> x, Rows<float> y) { forward<false>(x, y); }
GPUDL_EXPORT(softmax, forward, rows, x, y);

void softmax_backward_rows(Rows<const float> dy, Rows<const float> y, Rows<float> dx) { backward<false>(dy, y, dx); }
GPUDL_EXPORT(softmax, backward, rows, dy, y, dx);

void log_softmax_forward_rows(Rows<const float> x, Rows<float> y) { forward<true>(x, y); }
GPUDL_EXPORT(log_softmax, forward, rows, x, y);

void log_softmax_backward_rows(Rows<const float> dy, Rows<const float> y, Rows<float> dx) { backward<true>(dy, y, dx); }
GPUDL_EXPORT(log_softmax, backward, rows, dy, y, dx);

}  // namespace
}  // namespace gpudl
