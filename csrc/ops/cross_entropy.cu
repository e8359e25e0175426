// Cross-entropy from logits: forward keeps one number a row (the logarithm of the sum of exponentials), backward makes
// the softmax again from it. A group of threads a row (prim/rows.h); the rows' losses are summed by one block.
//
// With p = softmax(x), t the label, w the classes' weights (or ones), e the smoothing and C classes:
//   loss = -(1 - e) * w[t] * log p[t] - e/C * sum over c of w[c] * log p[c], 0 where t is ignored;
//   the mean divides by the sum of w[t].
// A label out of range gives a NaN loss and NaN gradients; nothing is read for it.
#include "core/export.h"
#include "prim/rows.h"

namespace gpudl {
namespace {

using prim::Row;
using prim::ROW_BLOCK;
using Matrix = View<const float, 2, rows>;
using Labels = View<const int64_t, 1, rows>;
using Column = View<float, 1, rows>;
using Weight = Maybe<View<const float, 1>>;

constexpr int TOTAL_BLOCK = 1024;

struct Smoothing {
  int64_t ignored;
  float amount;
};

enum class Label { good, ignored, outside };

GPUDL_DEVICE Label judge(int64_t label, int64_t ignored, int classes) {
  if (label == ignored) return Label::ignored;
  return label >= 0 && label < classes ? Label::good : Label::outside;
}

GPUDL_DEVICE float weight_of(const Weight& weight, int64_t c) { return weight ? weight.data[c] : 1.f; }

// lse = log(sum of exp(x)), loss and label_weight of each row.
// sass: cross_entropy_forward_rows_kernel SHFL MUFU registers<=64
template <int WIDTH>
__global__ void __launch_bounds__(ROW_BLOCK, 4)
    cross_entropy_forward_rows_kernel(Matrix x, Labels target, Weight weight, Smoothing smoothing, Column lse,
                                      float* loss, float* label_weight) {
  const int classes = x.dim[1];
  const Row<WIDTH> row(x.dim[0], classes);
  const float* logits = x.data + row.index * classes;
  const auto [maximum, sum] = prim::log_sum(row, logits);
  const float normaliser = maximum + logf(sum);
  float spread = 0;
  if (smoothing.amount != 0) {
    spread = row.reduce(prim::Sum{}, 0.f, [&](int c) { return weight_of(weight, c) * (normaliser - logits[c]); });
  }
  if (!row.inside || row.lane != 0) return;
  const int64_t label = target.data[row.index];
  const Label kind = judge(label, smoothing.ignored, classes);
  float value = 0, counted = 0;
  if (kind == Label::good) {
    counted = weight_of(weight, label);
    value = (1 - smoothing.amount) * counted * (normaliser - logits[label]);
    if (smoothing.amount != 0) value += smoothing.amount / classes * spread;
  } else if (kind == Label::outside) {
    value = counted = NAN;
  }
  lse.data[row.index] = normaliser;
  loss[row.index] = value;
  if (label_weight) label_weight[row.index] = counted;
}

// y = the sum of the losses, divided by the sum of the labels' weights for the mean. One block.
// sass: cross_entropy_total_kernel SHFL registers<=40
__global__ void __launch_bounds__(TOTAL_BLOCK)
    cross_entropy_total_kernel(const float* loss, const float* label_weight, int n, bool averaged, float* y,
                               float* divisor) {
  float total = 0, weights = 0;
  for (int i = threadIdx.x; i < n; i += TOTAL_BLOCK) {
    total += loss[i];
    weights += label_weight[i];
  }
  total = prim::block_reduce<TOTAL_BLOCK>(total, prim::Sum{});
  weights = prim::block_reduce<TOTAL_BLOCK>(weights, prim::Sum{});
  if (threadIdx.x != 0) return;
  *y = averaged ? total / weights : total;
  *divisor = averaged ? weights : 1.f;
}

__global__ void set_kernel(float* address, float value) { *address = value; }

// dx = scale * (p * mass - (1-e) * w[t] * [c = t] - e/C * w[c]) + dlse * p, mass = (1-e) * w[t] + e/C * sum of w.
// sass: cross_entropy_backward_rows_kernel MUFU registers<=64
template <int WIDTH>
__global__ void __launch_bounds__(ROW_BLOCK, 4)
    cross_entropy_backward_rows_kernel(View<const float, 1, rows> dy, const float* dlse, Matrix x, Labels target,
                                       Weight weight, Smoothing smoothing, const float* lse, const float* divisor,
                                       bool reduced, float* dx) {
  const int classes = x.dim[1];
  const Row<WIDTH> row(x.dim[0], classes);
  const float even = smoothing.amount / classes;
  float spread = 0;
  if (smoothing.amount != 0) {
    spread = even * row.reduce(prim::Sum{}, 0.f, [&](int c) { return weight_of(weight, c); });
  }
  if (!row.inside) return;
  const int64_t start = row.index * classes, label = target.data[row.index];
  const Label kind = judge(label, smoothing.ignored, classes);
  const float on_label = kind == Label::good ? (1 - smoothing.amount) * weight_of(weight, label) : 0.f;
  float scale = 0;
  if (kind != Label::ignored) scale = kind == Label::outside ? NAN : dy.data[reduced ? 0 : row.index] / *divisor;
  const float normaliser = lse[row.index], along = dlse ? dlse[row.index] : 0.f;
  row.for_each([&](int c) {
    const float p = expf(x.data[start + c] - normaliser);
    float slope = p * (on_label + spread) - (c == label ? on_label : 0.f);
    if (smoothing.amount != 0) slope -= even * weight_of(weight, c);
    dx[start + c] = (kind == Label::ignored ? 0.f : scale * slope) + along * p;
  });
}

void cross_entropy_forward_rows(Matrix x, Labels target, Weight weight, Column y, Column lse, Column divisor,
                                View<float, 1> workspace, int64_t ignore_index, float label_smoothing, bool reduced,
                                bool averaged) {
  const int n = x.dim[0];
  float* loss = reduced ? workspace.data : y.data;
  float* label_weight = reduced ? workspace.data + n : nullptr;
  prim::for_width(x.dim[1], [&](auto width) {
    launch(cross_entropy_forward_rows_kernel<width()>, prim::blocks_for_rows<width()>(n), ROW_BLOCK, 0, x, target,
           weight, Smoothing{ignore_index, label_smoothing}, lse, loss, label_weight);
  });
  if (reduced) {
    launch(cross_entropy_total_kernel, 1, TOTAL_BLOCK, 0, loss, label_weight, n, averaged, y.data, divisor.data);
  } else {
    launch(set_kernel, 1, 1, 0, divisor.data, 1.f);
  }
}
GPUDL_EXPORT(cross_entropy_forward_rows, x, target, weight, y, lse, divisor, workspace, ignore_index, label_smoothing,
             reduced, averaged);

void cross_entropy_backward_rows(View<const float, 1, rows> dy, Maybe<View<const float, 1, rows>> dlse, Matrix x,
                                 Labels target, Weight weight, View<const float, 1, rows> lse,
                                 View<const float, 1, rows> divisor, View<float, 2, rows> dx, int64_t ignore_index,
                                 float label_smoothing, bool reduced) {
  prim::for_width(x.dim[1], [&](auto width) {
    launch(cross_entropy_backward_rows_kernel<width()>, prim::blocks_for_rows<width()>(x.dim[0]), ROW_BLOCK, 0, dy,
           dlse.data, x, target, weight, Smoothing{ignore_index, label_smoothing}, lse.data, divisor.data, reduced,
           dx.data);
  });
}
GPUDL_EXPORT(cross_entropy_backward_rows, dy, dlse, x, target, weight, lse, divisor, dx, ignore_index, label_smoothing,
             reduced);

}  // namespace
}  // namespace gpudl
