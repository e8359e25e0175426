// Losses of pairs (ops/loss/pair_loss.h): of the difference x - target, and other elementwise ones.
#include "ops/loss/pair_loss.h"

namespace gpudl {
namespace {

using prim::Types;

// sass: map_kernel LDG STG registers<=48
// sass: map_sum_kernel LDG SHFL registers<=48
// sass: sum_parts_kernel SHFL registers<=40

GPUDL_DEVICE float sign_of(float d) { return d > 0 ? 1.f : d < 0 ? -1.f : 0.f; }  // 0 for NaN, as in PyTorch

// A loss of d = x - target. D defines value(d) and slope(d).
template <class D>
struct Difference {
  using Parameters = typename D::Parameters;
  D of;
  GPUDL_DEVICE float value(float x, float t) const { return of.value(x - t); }
  GPUDL_DEVICE float dx(float x, float t) const { return of.slope(x - t); }
  GPUDL_DEVICE float dt(float x, float t) const { return -of.slope(x - t); }
};

struct Mse {
  using Parameters = Types<>;
  GPUDL_DEVICE float value(float d) const { return d * d; }
  GPUDL_DEVICE float slope(float d) const { return 2 * d; }
};
GPUDL_PAIR_LOSS(mse_loss, flat, Difference<Mse>);

struct L1 {
  using Parameters = Types<>;
  GPUDL_DEVICE float value(float d) const { return fabsf(d); }
  GPUDL_DEVICE float slope(float d) const { return sign_of(d); }
};
GPUDL_PAIR_LOSS(l1_loss, flat, Difference<L1>);

// d²/(2·beta) within beta of 0, |d| - beta/2 outside.
struct SmoothL1 {
  using Parameters = Types<float>;
  float beta;
  GPUDL_DEVICE float value(float d) const {
    const float size = fabsf(d);
    return size < beta ? 0.5f * size * size / beta : size - 0.5f * beta;
  }
  GPUDL_DEVICE float slope(float d) const { return d >= beta || d <= -beta || beta == 0 ? sign_of(d) : d / beta; }
};
GPUDL_PAIR_LOSS(smooth_l1_loss, flat, Difference<SmoothL1>, beta);

// d²/2 within delta of 0, delta·(|d| - delta/2) outside.
struct Huber {
  using Parameters = Types<float>;
  float delta;
  GPUDL_DEVICE float value(float d) const {
    const float size = fabsf(d);
    return size <= delta ? 0.5f * size * size : delta * (size - 0.5f * delta);
  }
  GPUDL_DEVICE float slope(float d) const { return d > delta ? delta : d < -delta ? -delta : d; }
};
GPUDL_PAIR_LOSS(huber_loss, flat, Difference<Huber>, delta);

// Kullback-Leibler divergence for log-probabilities x: t·(log t - x), 0 where t is 0; t may be a log-probability too.
struct KlDiv {
  using Parameters = Types<bool>;
  bool log_target;
  GPUDL_DEVICE float value(float x, float t) const {
    if (log_target) return expf(t) * (t - x);
    return (t == 0 ? 0.f : t * logf(t)) - t * x;
  }
  GPUDL_DEVICE float dx(float, float t) const { return log_target ? -expf(t) : -t; }
  GPUDL_DEVICE float dt(float x, float t) const { return log_target ? expf(t) * (t - x + 1) : logf(t) + 1 - x; }
};
GPUDL_PAIR_LOSS(kl_div, flat, KlDiv, log_target);

// log(1 + exp(-t·x)), t = ±1.
struct SoftMargin {
  using Parameters = Types<>;
  GPUDL_DEVICE float value(float x, float t) const {
    const float z = -t * x;
    return (z > 0 ? z : z == z ? 0.f : z) + log1pf(expf(-fabsf(z)));
  }
  GPUDL_DEVICE float dx(float x, float t) const { return -t / (1 + expf(t * x)); }
  GPUDL_DEVICE float dt(float x, float t) const { return -x / (1 + expf(t * x)); }
};
GPUDL_PAIR_LOSS(soft_margin_loss, flat, SoftMargin);

// x where t is 1, max(0, margin - x) where t is -1.
struct HingeEmbedding {
  using Parameters = Types<float>;
  float margin;
  GPUDL_DEVICE float value(float x, float t) const {
    return (t != -1 ? x : 0.f) + (t != 1 && !(margin - x < 0) ? margin - x : 0.f);
  }
  GPUDL_DEVICE float dx(float x, float t) const {
    return (t != -1 ? 1.f : 0.f) - (t != 1 && margin - x >= 0 ? 1.f : 0.f);
  }
  GPUDL_DEVICE float dt(float, float) const { return 0; }
};
GPUDL_PAIR_LOSS(hinge_embedding_loss, flat, HingeEmbedding, margin);

// For counts t with rate x or exp(x): rate - t·log(rate); full adds Stirling's log(t!) where t > 1.
struct PoissonNll {
  using Parameters = Types<bool, bool, float>;
  bool log_input, full;
  float eps;
  GPUDL_DEVICE float value(float x, float t) const {
    const float loss = log_input ? expf(x) - t * x : x - t * logf(x + eps);
    return full && t > 1 ? loss + (t * logf(t) - t + 0.5f * logf(6.2831853071795865f * t)) : loss;
  }
  GPUDL_DEVICE float dx(float x, float t) const { return log_input ? expf(x) - t : 1 - t / (x + eps); }
  GPUDL_DEVICE float dt(float x, float t) const {
    const float slope = log_input ? -x : -logf(x + eps);
    return full && t > 1 ? slope + (logf(t) + 0.5f / t) : slope;
  }
};
GPUDL_PAIR_LOSS(poisson_nll_loss, flat, PoissonNll, log_input, full, eps);

}  // namespace
}  // namespace gpudl
