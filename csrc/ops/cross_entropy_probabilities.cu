// Cross-entropy from logits and probabilities q of the classes, each (rows, classes), w the classes' weights (or ones)
// and e the smoothing, q' = (1 - e) * q + e/C:
//   loss = -sum over c of w[c] * q'[c] * log p[c], p = softmax(x); the mean divides by the number of rows.
// Both directions read x once for the logarithm of the sum and once more, from cache, for the rest.
#include "core/export.h"
#include "prim/class_loss.h"

namespace gpudl {
namespace {

using prim::Row;
using prim::ROW_BLOCK;
using Matrix = View<const float, 2, rows>;
using Weight = Maybe<View<const float, 1>>;

// w[c] * q'[c].
struct Mass {
  const float* weight;
  float keep, even;
  GPUDL_DEVICE float weigh(int c) const { return weight ? weight[c] : 1.f; }
  GPUDL_DEVICE float operator()(int c, float q) const { return weigh(c) * (keep * q + even); }
};

Mass mass_of(const Weight& weight, float smoothing, int classes) {
  return {weight.data, 1 - smoothing, smoothing / static_cast<float>(classes)};
}

// sass: cross_entropy_probabilities_forward_kernel SHFL MUFU registers<=64
template <int WIDTH, int PACK>
__global__ void __launch_bounds__(ROW_BLOCK, 4)
    cross_entropy_probabilities_forward_kernel(Matrix x, Matrix target, Mass mass, float* each, prim::LossTotal total) {
  const int classes = x.dim[1];
  float losses = 0, counted = 0;
  prim::for_rows<WIDTH>(x.dim[0], classes, [&](const Row<WIDTH>& row) {
    const float* logits = x.data + row.index * classes;
    const float* q = target.data + row.index * classes;
    const float normaliser = prim::log_sum_exp<PACK>(row, logits);
    const float value = row.reduce(prim::Sum{}, 0.f, [&](int c) { return mass(c, q[c]) * (normaliser - logits[c]); });
    if (!row.inside || row.lane != 0) return;
    if (each) each[row.index] = value;
    losses += value;
    counted += 1;
  });
  if (!each) total.finish(losses, counted);
}

void cross_entropy_probabilities_forward_rows(Matrix x, Matrix target, Weight weight, View<float, 1, rows> y,
                                              View<float, 1> workspace, float label_smoothing, bool reduced,
                                              bool averaged) {
  const prim::LossTotal total{y.data, nullptr, workspace.data, averaged};
  const Mass mass = mass_of(weight, label_smoothing, x.dim[1]);
  prim::for_row_shape(x.dim[1], prim::is_aligned<4>(x.data), [&](auto width, auto pack) {
    const int blocks = prim::loss_blocks<width()>(x.dim[0], x.dim[1]);
    launch(cross_entropy_probabilities_forward_kernel<width(), pack()>, blocks, ROW_BLOCK, 0, x, target, mass,
           reduced ? nullptr : y.data, total);
    if (reduced) prim::finish_loss(total, blocks);
  });
}
GPUDL_EXPORT(cross_entropy_probabilities_forward_rows, x, target, weight, y, workspace, label_smoothing, reduced,
             averaged);

// dx = scale * (p * sum of w * q' - w * q'), dtarget = scale * (1 - e) * w * (lse - x).
// sass: cross_entropy_probabilities_backward_kernel SHFL MUFU STG registers<=64
template <int WIDTH, int PACK>
__global__ void __launch_bounds__(ROW_BLOCK, 4)
    cross_entropy_probabilities_backward_kernel(const float* dy, Matrix x, Matrix target, Mass mass, bool reduced,
                                                bool averaged, float* dx, float* dtarget) {
  const int classes = x.dim[1];
  const Row<WIDTH> row(x.dim[0], classes);
  const int64_t start = row.index * classes;
  const float *logits = x.data + start, *q = target.data + start;
  const float normaliser = prim::log_sum_exp<PACK>(row, logits);
  float all = 0;
  if (dx) all = row.reduce(prim::Sum{}, 0.f, [&](int c) { return mass(c, q[c]); });
  if (!row.inside) return;
  float scale = dy[reduced ? 0 : row.index];
  if (averaged) scale /= static_cast<float>(x.dim[0]);
  row.for_each([&](int c) {
    if (dx) dx[start + c] = scale * (expf(logits[c] - normaliser) * all - mass(c, q[c]));
    if (dtarget) dtarget[start + c] = scale * (mass.keep * mass.weigh(c) * (normaliser - logits[c]));
  });
}

void cross_entropy_probabilities_backward_rows(View<const float, 1, rows> dy, Matrix x, Matrix target, Weight weight,
                                               Maybe<View<float, 2, rows>> dx, Maybe<View<float, 2, rows>> dtarget,
                                               float label_smoothing, bool reduced, bool averaged) {
  const Mass mass = mass_of(weight, label_smoothing, x.dim[1]);
  prim::for_row_shape(x.dim[1], prim::is_aligned<4>(x.data), [&](auto width, auto pack) {
    launch(cross_entropy_probabilities_backward_kernel<width(), pack()>, prim::blocks_for_rows<width()>(x.dim[0]),
           ROW_BLOCK, 0, dy.data, x, target, mass, reduced, averaged, dx.data, dtarget.data);
  });
}
GPUDL_EXPORT(cross_entropy_probabilities_backward_rows, dy, x, target, weight, dx, dtarget, label_smoothing, reduced,
             averaged);

}  // namespace
}  // namespace gpudl
