// Binary cross-entropy of probabilities and of logits, with optional element weights (ops/loss/pair_loss.h).
#include "ops/loss/pair_loss.h"

namespace gpudl {
namespace {

using prim::Flat;
using prim::Workspace;
using Weights = Maybe<Flat<const float>>;

// sass: map_kernel LDG STG registers<=48
// sass: map_sum_kernel LDG SHFL registers<=48

// -w·(t·log x + (1 - t)·log(1 - x)), with logarithms clamped at -100. NaN outside [0, 1].
struct Bce {
  const float* weight;
  GPUDL_DEVICE float weigh(int64_t i, float value) const { return weight ? value * weight[i] : value; }
  GPUDL_DEVICE static float bounded(float logarithm) { return logarithm < -100 ? -100.f : logarithm; }
  GPUDL_DEVICE float value(int64_t i, float x, float t) const {
    return weigh(i, (t - 1) * bounded(log1pf(-x)) - t * bounded(logf(x)));
  }
  GPUDL_DEVICE float dx(int64_t i, float x, float t) const {
    const float spread = (1 - x) * x;
    return weigh(i, (x - t) / (spread < 1e-12f ? 1e-12f : spread));
  }
  GPUDL_DEVICE float dt(int64_t i, float x, float) const { return weigh(i, bounded(log1pf(-x)) - bounded(logf(x))); }
};

void binary_cross_entropy_forward_flat(Flat<const float> x, Flat<const float> target, Weights weight, Flat<float> y,
                                       Workspace workspace, bool reduced, bool averaged) {
  prim::pair_loss_forward(Bce{weight.data}, x, target, y, workspace, {reduced, averaged});
}
GPUDL_EXPORT(binary_cross_entropy, forward, flat, x, target, weight, y, workspace, reduced, averaged)
    .workspace<prim::pair_loss_workspace>("reduced");

void binary_cross_entropy_backward_flat(Flat<const float> x, Flat<const float> target, Weights weight,
                                        Flat<const float> dy, Maybe<Flat<float>> dx, Maybe<Flat<float>> dtarget,
                                        bool reduced, bool averaged) {
  prim::pair_loss_backward(Bce{weight.data}, x, target, dy, dx, dtarget, {reduced, averaged});
}
GPUDL_EXPORT(binary_cross_entropy, backward, flat, x, target, weight, dy, dx, dtarget, reduced, averaged);

// w·((1 - t)·x + (1 + (p - 1)·t)·log(1 + exp(-x))), p the weight of the term of positive targets.
struct BceWithLogits {
  const float *weight, *pos_weight;
  GPUDL_DEVICE float weigh(int64_t i, float value) const { return weight ? value * weight[i] : value; }
  GPUDL_DEVICE float extra(int64_t i) const { return pos_weight ? pos_weight[i] - 1 : 0.f; }
  GPUDL_DEVICE static float softplus(float z) { return (z > 0 ? z : z == z ? 0.f : z) + log1pf(expf(-fabsf(z))); }
  GPUDL_DEVICE float value(int64_t i, float x, float t) const {
    return weigh(i, (1 - t) * x + (1 + extra(i) * t) * softplus(-x));
  }
  GPUDL_DEVICE float dx(int64_t i, float x, float t) const {
    return weigh(i, 1 - t - (1 + extra(i) * t) * (1 / (1 + expf(x))));
  }
  GPUDL_DEVICE float dt(int64_t i, float x, float) const { return weigh(i, extra(i) * softplus(-x) - x); }
};

void binary_cross_entropy_with_logits_forward_flat(Flat<const float> x, Flat<const float> target, Weights weight,
                                                   Weights pos_weight, Flat<float> y, Workspace workspace, bool reduced,
                                                   bool averaged) {
  prim::pair_loss_forward(BceWithLogits{weight.data, pos_weight.data}, x, target, y, workspace, {reduced, averaged});
}
GPUDL_EXPORT(binary_cross_entropy_with_logits, forward, flat, x, target, weight, pos_weight, y, workspace, reduced,
             averaged)
    .workspace<prim::pair_loss_workspace>("reduced");

void binary_cross_entropy_with_logits_backward_flat(Flat<const float> x, Flat<const float> target, Weights weight,
                                                    Weights pos_weight, Flat<const float> dy, Maybe<Flat<float>> dx,
                                                    Maybe<Flat<float>> dtarget, bool reduced, bool averaged) {
  prim::pair_loss_backward(BceWithLogits{weight.data, pos_weight.data}, x, target, dy, dx, dtarget,
                           {reduced, averaged});
}
GPUDL_EXPORT(binary_cross_entropy_with_logits, backward, flat, x, target, weight, pos_weight, dy, dx, dtarget, reduced,
             averaged);

}  // namespace
}  // namespace gpudl
