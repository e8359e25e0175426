// Negative log-likelihood of labels: -w[t] * x[t], 0 if t is ignored, and its gradient, which is 0 except at the label.
// A label out of range gives a NaN loss and a NaN gradient; nothing is read for it.
#include "core/export.h"
#include "ops/loss/class_loss.h"

namespace gpudl {
namespace {

using prim::judge;
using prim::Label;
using prim::ROW_BLOCK;
using Labels = View<const int64_t, 1, rows>;
using Column = View<float, 1, rows>;
using Weight = Maybe<View<const float, 1>>;

// One thread per row. Writes its loss to `each`, or the sum of all to `total`.
// sass: nll_loss_forward_rows_kernel SHFL registers<=40
__global__ void __launch_bounds__(ROW_BLOCK)
    nll_loss_forward_rows_kernel(View<const float, 2, rows> x, Labels target, Weight weight, int64_t ignored,
                                 float* each, prim::LossTotal total) {
  const int classes = x.dim[1];
  float losses = 0, weights = 0;
  for (int64_t row = static_cast<int64_t>(blockIdx.x) * ROW_BLOCK + threadIdx.x; row < x.dim[0];
       row += static_cast<int64_t>(gridDim.x) * ROW_BLOCK) {
    const int64_t label = target.data[row];
    const Label kind = judge(label, ignored, classes);
    float value = 0, counted = 0;
    if (kind == Label::good) {
      counted = weight ? weight.data[label] : 1.f;
      value = -x.data[row * classes + label] * counted;
    } else if (kind == Label::outside) {
      value = counted = NAN;
    }
    if (each) each[row] = value;
    losses += value;
    weights += counted;
  }
  if (!each) total.finish(losses, weights);
  else if (blockIdx.x == 0 && threadIdx.x == 0) *total.divisor = 1;
}

void nll_loss_forward_rows(View<const float, 2, rows> x, Labels target, Weight weight, Column y, Column divisor,
                           View<float, 1> workspace, int64_t ignore_index, bool reduced, bool averaged) {
  const prim::LossTotal total{y.data, divisor.data, workspace.data, averaged};
  const int blocks = prim::loss_blocks<1>(x.dim[0], 1);
  launch(nll_loss_forward_rows_kernel, blocks, ROW_BLOCK, 0, x, target, weight, ignore_index,
         reduced ? nullptr : y.data, total);
  if (reduced) prim::finish_loss(total, blocks);
}
GPUDL_EXPORT(nll_loss, forward, rows, x, target, weight, y, divisor, workspace, ignore_index, reduced, averaged)
    .workspace<prim::loss_workspace>("reduced");

// The gradient of element i of x.
// sass: map_kernel STG registers<=48
struct NllGradient {
  const float *dy, *weight, *divisor;
  const int64_t* target;
  int64_t ignored;
  int classes;
  bool reduced;
  GPUDL_DEVICE float operator()(int64_t i) const {
    const int64_t row = i / classes, label = target[row];
    const Label kind = judge(label, ignored, classes);
    if (kind == Label::outside) return NAN;
    if (kind == Label::ignored || label != i - row * classes) return 0;
    return -(weight ? weight[label] : 1.f) * (dy[reduced ? 0 : row] / *divisor);
  }
};

void nll_loss_backward_rows(View<const float, 1, rows> dy, Labels target, Weight weight,
                            View<const float, 1, rows> divisor, View<float, 2, rows> dx, int64_t ignore_index,
                            bool reduced) {
  const int64_t size = dx.size();
  check(size < int64_t{1} << 31, "dx", "has 2^31 elements or more");
  prim::map_indexed(NllGradient{dy.data, weight.data, divisor.data, target.data, ignore_index, dx.dim[1], reduced},
                    prim::Flat<float>{dx.data, {static_cast<int>(size)}});
}
GPUDL_EXPORT(nll_loss, backward, rows, dy, target, weight, divisor, dx, ignore_index, reduced);

}  // namespace
}  // namespace gpudl
