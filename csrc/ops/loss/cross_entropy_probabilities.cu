// Cross-entropy from logits x and class probabilities q, each (rows, classes), with class weights w (or ones),
// smoothing e and q' = (1 - e) * q + e/C:
//   loss = -sum over c of w[c] * q'[c] * log p[c], p = softmax(x); the mean divides by the number of rows.
// Forward reads x and q once, and x again from cache. It saves two numbers per row, the log of the sum of exponentials
// and the mass, the sum of w * q'; from these backward computes the gradients in one pass without a reduction.
#include "core/export.h"
#include "ops/loss/class_loss.h"

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
    cross_entropy_probabilities_forward_kernel(Matrix x, Matrix target, Mass mass, float* lse, float* masses,
                                               float* each, prim::LossTotal total) {
  const int classes = x.dim[1];
  float losses = 0, counted = 0;
  prim::for_rows<WIDTH>(x.dim[0], classes, [&](const Row<WIDTH>& row) {
    const float* logits = x.data + row.index * classes;
    const float* q = target.data + row.index * classes;
    const float normaliser = prim::log_sum_exp<PACK>(row, logits);
    prim::Pack<float, 2> sums{};  // the loss and the mass
    row.for_each([&](int c) {
      const float part = mass(c, q[c]);
      sums.at[0] += part * (normaliser - logits[c]);
      sums.at[1] += part;
    });
    sums = row.merge(sums, prim::AddPacks{});
    if (!row.inside || row.lane != 0) return;
    lse[row.index] = normaliser;
    masses[row.index] = sums.at[1];
    if (each) each[row.index] = sums.at[0];
    losses += sums.at[0];
    counted += 1;
  });
  if (!each) total.finish(losses, counted);
}

using Column = View<float, 1, rows>;
using Kept = View<const float, 1, rows>;

void cross_entropy_probabilities_forward_rows(Matrix x, Matrix target, Weight weight, Column y, Column lse, Column mass,
                                              View<float, 1> workspace, float label_smoothing, bool reduced,
                                              bool averaged) {
  const prim::LossTotal total{y.data, nullptr, workspace.data, averaged};
  const Mass of = mass_of(weight, label_smoothing, x.dim[1]);
  prim::for_row_shape(x.dim[1], prim::is_aligned<4>(x.data), [&](auto width, auto pack) {
    const int blocks = prim::loss_blocks<width()>(x.dim[0], x.dim[1]);
    launch(cross_entropy_probabilities_forward_kernel<width(), pack()>, blocks, ROW_BLOCK, 0, x, target, of, lse.data,
           mass.data, reduced ? nullptr : y.data, total);
    if (reduced) prim::finish_loss(total, blocks);
  });
}
GPUDL_EXPORT(cross_entropy_probabilities, forward, rows, x, target, weight, y, lse, mass, workspace, label_smoothing,
             reduced, averaged)
    .workspace<prim::loss_workspace>("reduced");

// dx = scale * (p * mass - w * q'), dtarget = scale * (1 - e) * w * (lse - x).
// sass: cross_entropy_probabilities_backward_kernel MUFU STG registers<=64
template <int WIDTH, int PACK>
__global__ void __launch_bounds__(ROW_BLOCK, 4)
    cross_entropy_probabilities_backward_kernel(const float* dy, Matrix x, Matrix target, Mass mass, const float* lse,
                                                const float* masses, bool reduced, bool averaged, float* dx,
                                                float* dtarget) {
  const int classes = x.dim[1];
  const Row<WIDTH> row(x.dim[0], classes);
  if (!row.inside) return;
  const int64_t start = row.index * classes;
  const float normaliser = lse[row.index], all = masses[row.index];
  float scale = dy[reduced ? 0 : row.index];
  if (averaged) scale /= static_cast<float>(x.dim[0]);
  prim::for_packs<PACK>(row, x.data + start, [&](int c, const auto& logits) {
    prim::Pack<float, PACK> q, made;
    if (dx) q = prim::load_pack<PACK>(target.data + start + c);
#pragma unroll
    for (int i = 0; i < PACK; ++i)
      if (dx) made.at[i] = scale * (expf(logits[i] - normaliser) * all - mass(c + i, q.at[i]));
    if (dx) prim::store_pack<PACK>(dx + start + c, made);
#pragma unroll
    for (int i = 0; i < PACK; ++i) made.at[i] = scale * (mass.keep * mass.weigh(c + i) * (normaliser - logits[i]));
    if (dtarget) prim::store_pack<PACK>(dtarget + start + c, made);
  });
}

void cross_entropy_probabilities_backward_rows(Kept dy, Matrix x, Matrix target, Weight weight, Kept lse, Kept mass,
                                               Maybe<View<float, 2, rows>> dx, Maybe<View<float, 2, rows>> dtarget,
                                               float label_smoothing, bool reduced, bool averaged) {
  const Mass of = mass_of(weight, label_smoothing, x.dim[1]);
  const auto aligned = [](auto... data) { return (prim::is_aligned<4>(data) && ...); };
  prim::for_row_shape(x.dim[1], aligned(x.data, target.data, dx.data, dtarget.data), [&](auto width, auto pack) {
    launch(cross_entropy_probabilities_backward_kernel<width(), pack()>, prim::blocks_for_rows<width()>(x.dim[0]),
           ROW_BLOCK, 0, dy.data, x, target, of, lse.data, mass.data, reduced, averaged, dx.data, dtarget.data);
  });
}
GPUDL_EXPORT(cross_entropy_probabilities, backward, rows, dy, x, target, weight, lse, mass, dx, dtarget,
             label_smoothing, reduced, averaged);

}  // namespace
}  // namespace gpudl
