// Cross-entropy from logits and labels: forward reads each row once and saves one number for it (the log of the sum of
// exponentials); from that backward recomputes the softmax with one exponential per element and no reduction. Three
// passes over memory in all: a read forward, a read and a write backward. Writing the gradient in forward, before dy is
// known, would take four (one more write, and a read and a write to scale it). There is no second pass over x, and no
// array kept between forward and backward.
//
// With p = softmax(x), label t, class weights w (or ones), smoothing e and C classes:
//   loss = -(1 - e) * w[t] * log p[t] - e/C * sum over c of w[c] * log p[c], 0 if t is ignored;
//   the mean divides by the sum of w[t].
// A label out of range gives a NaN loss and NaN gradients; nothing is read for it.
#include "core/export.h"
#include "ops/loss/class_loss.h"

namespace gpudl {
namespace {

using prim::judge;
using prim::Label;
using prim::Row;
using prim::ROW_BLOCK;
using Matrix = View<const float, 2, rows>;
using Labels = View<const int64_t, 1, rows>;
using Column = View<float, 1, rows>;
using Weight = Maybe<View<const float, 1>>;

struct Smoothing {
  int64_t ignored;
  float amount;
};

GPUDL_DEVICE float weight_of(const Weight& weight, int64_t c) { return weight ? weight.data[c] : 1.f; }

// lse = log(sum of exp(x)) of each row; writes its loss to `each`, or the sum of all to `total`. Groups of WIDTH
// threads take rows in turn; smoothing reads a row a second time, from cache.
// sass: cross_entropy_forward_rows_kernel SHFL MUFU registers<=64
template <int WIDTH, int PACK>
__global__ void __launch_bounds__(ROW_BLOCK, 4)
    cross_entropy_forward_rows_kernel(Matrix x, Labels target, Weight weight, Smoothing smoothing, float* lse,
                                      float* each, prim::LossTotal total) {
  const int classes = x.dim[1];
  float losses = 0, weights = 0;
  prim::for_rows<WIDTH>(x.dim[0], classes, [&](const Row<WIDTH>& row) {
    const float* logits = x.data + row.index * classes;
    const float normaliser = prim::log_sum_exp<PACK>(row, logits);
    float spread = 0;
    if (smoothing.amount != 0)
      spread = row.reduce(prim::Sum{}, 0.f, [&](int c) { return weight_of(weight, c) * (normaliser - logits[c]); });
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
    lse[row.index] = normaliser;
    if (each) each[row.index] = value;
    losses += value;
    weights += counted;
  });
  if (!each) total.finish(losses, weights);
  else if (blockIdx.x == 0 && threadIdx.x == 0) *total.divisor = 1;
}

void cross_entropy_forward_rows(Matrix x, Labels target, Weight weight, Column y, Column lse, Column divisor,
                                View<float, 1> workspace, int64_t ignore_index, float label_smoothing, bool reduced,
                                bool averaged) {
  const prim::LossTotal total{y.data, divisor.data, workspace.data, averaged};
  prim::for_row_shape(x.dim[1], prim::is_aligned<4>(x.data), [&](auto width, auto pack) {
    const int blocks = prim::loss_blocks<width()>(x.dim[0], x.dim[1]);
    launch(cross_entropy_forward_rows_kernel<width(), pack()>, blocks, ROW_BLOCK, 0, x, target, weight,
           Smoothing{ignore_index, label_smoothing}, lse.data, reduced ? nullptr : y.data, total);
    if (reduced) prim::finish_loss(total, blocks);
  });
}
GPUDL_EXPORT(cross_entropy, forward, rows, x, target, weight, y, lse, divisor, workspace, ignore_index, label_smoothing,
             reduced, averaged)
    .workspace<prim::loss_workspace>("reduced");

// dx = scale * (p * mass - (1-e) * w[t] * [c = t] - e/C * w[c]) + dlse * p, mass = (1-e) * w[t] + e/C * sum of w.
// sass: cross_entropy_backward_rows_kernel MUFU STG registers<=64
template <int WIDTH, int PACK>
__global__ void __launch_bounds__(ROW_BLOCK, 4)
    cross_entropy_backward_rows_kernel(View<const float, 1, rows> dy, const float* dlse, Matrix x, Labels target,
                                       Weight weight, Smoothing smoothing, const float* lse, const float* divisor,
                                       bool reduced, float* dx) {
  const int classes = x.dim[1];
  const Row<WIDTH> row(x.dim[0], classes);
  const float even = smoothing.amount / classes;
  float spread = 0;
  if (smoothing.amount != 0) spread = even * row.reduce(prim::Sum{}, 0.f, [&](int c) { return weight_of(weight, c); });
  if (!row.inside) return;
  const int64_t start = row.index * classes, label = target.data[row.index];
  const Label kind = judge(label, smoothing.ignored, classes);
  const float on_label = kind == Label::good ? (1 - smoothing.amount) * weight_of(weight, label) : 0.f;
  float scale = 0;
  if (kind != Label::ignored) scale = kind == Label::outside ? NAN : dy.data[reduced ? 0 : row.index] / *divisor;
  const float normaliser = lse[row.index], along = dlse ? dlse[row.index] : 0.f;
  prim::for_packs<PACK>(row, x.data + start, [&](int c, const auto& logits) {
    prim::Pack<float, PACK> out;
#pragma unroll
    for (int i = 0; i < PACK; ++i) {
      const float p = expf(logits[i] - normaliser);
      float slope = p * (on_label + spread) - (c + i == label ? on_label : 0.f);
      if (smoothing.amount != 0) slope -= even * weight_of(weight, c + i);
      out.at[i] = (kind == Label::ignored ? 0.f : scale * slope) + along * p;
    }
    prim::store_pack<PACK>(dx + start + c, out);
  });
}

void cross_entropy_backward_rows(View<const float, 1, rows> dy, Maybe<View<const float, 1, rows>> dlse, Matrix x,
                                 Labels target, Weight weight, View<const float, 1, rows> lse,
                                 View<const float, 1, rows> divisor, View<float, 2, rows> dx, int64_t ignore_index,
                                 float label_smoothing, bool reduced) {
  const bool aligned = prim::is_aligned<4>(x.data) && prim::is_aligned<4>(dx.data);
  prim::for_row_shape(x.dim[1], aligned, [&](auto width, auto pack) {
    launch(cross_entropy_backward_rows_kernel<width(), pack()>, prim::blocks_for_rows<width()>(x.dim[0]), ROW_BLOCK, 0,
           dy, dlse.data, x, target, weight, Smoothing{ignore_index, label_smoothing}, lse.data, divisor.data, reduced,
           dx.data);
  });
}
GPUDL_EXPORT(cross_entropy, backward, rows, dy, dlse, x, target, weight, lse, divisor, dx, ignore_index,
             label_smoothing, reduced);

}  // namespace
}  // namespace gpudl
