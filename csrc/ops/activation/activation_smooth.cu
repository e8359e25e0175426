// Activations that use exponentials, forward and backward, run by prim::map.
#include "ops/activation/activation.h"

namespace gpudl {
namespace {

using prim::sigmoid;

// sass: map_kernel LDG STG registers<=48

// 1 / (1 + exp(-x)).
struct Sigmoid {
  GPUDL_DEVICE float value(float x) const { return sigmoid(x); }
  GPUDL_DEVICE float gradient(float dy, float y) const { return dy * (y * (1.f - y)); }
};
GPUDL_ACTIVATION(sigmoid, flat, flat_bfloat16, Sigmoid, y);

struct Tanh {
  GPUDL_DEVICE float value(float x) const { return tanhf(x); }
  GPUDL_DEVICE float gradient(float dy, float y) const { return dy * (1.f - y * y); }
};
GPUDL_ACTIVATION(tanh, flat, flat_bfloat16, Tanh, y);

// amplitude · tanh(slope · x).
struct ScaledTanh {
  float amplitude, slope;
  GPUDL_DEVICE float value(float x) const { return amplitude * tanhf(slope * x); }
  GPUDL_DEVICE float gradient(float dy, float y) const {
    const float t = y / amplitude;
    return dy * (amplitude * slope * (1.f - t * t));
  }
};
GPUDL_ACTIVATION(scaled_tanh, flat, flat_bfloat16, ScaledTanh, y, amplitude, slope);

// outer·x where x > 0, else outer·alpha·(exp(inner·x) - 1): ELU, SELU and CELU.
struct Elu {
  float alpha, outer, inner;
  GPUDL_DEVICE float value(float x) const { return outer * (x > 0 ? x : alpha * expm1f(inner * x)); }
  GPUDL_DEVICE float gradient(float dy, float x) const {
    return dy * outer * (x <= 0 ? alpha * inner * expf(inner * x) : 1.f);
  }
};
GPUDL_ACTIVATION(elu, flat, flat_bfloat16, Elu, x, alpha, outer, inner);

// log(1 + exp(beta·x)) / beta, computed from the smaller exponential; x itself where beta·x > threshold.
struct Softplus {
  float beta, threshold;
  GPUDL_DEVICE float value(float x) const {
    const float z = x * beta;
    return z > threshold ? x : ((z > 0 ? z : z == z ? 0.f : z) + log1pf(expf(-fabsf(z)))) / beta;
  }
  GPUDL_DEVICE float gradient(float dy, float x) const {
    const float z = x * beta;
    return z > threshold ? dy : dy * sigmoid(z);
  }
};
GPUDL_ACTIVATION(softplus, flat, flat_bfloat16, Softplus, x, beta, threshold);

// log(1 / (1 + exp(-x))).
struct LogSigmoid {
  GPUDL_DEVICE float value(float x) const { return (x < 0 ? x : x == x ? 0.f : x) - log1pf(expf(-fabsf(x))); }
  GPUDL_DEVICE float gradient(float dy, float x) const { return dy * sigmoid(-x); }
};
GPUDL_ACTIVATION(logsigmoid, flat, flat_bfloat16, LogSigmoid, x);

// exp(-x²).
struct Gaussian {
  GPUDL_DEVICE float value(float x) const { return expf(-x * x); }
  GPUDL_DEVICE float gradient(float dy, float x) const { return dy * (-2.f * (x * expf(-x * x))); }
};
GPUDL_ACTIVATION(gaussian, flat, flat_bfloat16, Gaussian, x);

// x·P(x), P the normal distribution function.
struct Gelu {
  GPUDL_DEVICE static float probability(float x) { return 0.5f * erfcf(x * -0.70710678118654752f); }
  GPUDL_DEVICE float value(float x) const { return x * probability(x); }
  GPUDL_DEVICE float gradient(float dy, float x) const {
    return dy * (probability(x) + x * (0.39894228040143268f * expf(-0.5f * x * x)));
  }
};
GPUDL_ACTIVATION(gelu, flat, flat_bfloat16, Gelu, x);

// x·(1 + tanh(u))/2, u = sqrt(2/π)·(x + 0.044715·x³).
struct GeluTanh {
  GPUDL_DEVICE static float bend(float x) { return tanhf(0.79788456080286536f * (x + 0.044715f * x * x * x)); }
  GPUDL_DEVICE float value(float x) const { return 0.5f * x * (1 + bend(x)); }
  GPUDL_DEVICE float gradient(float dy, float x) const {
    // 1 - t² is 0 long before x is 100; the limit keeps 0·∞ away.
    const float t = bend(x), du = 0.79788456080286536f * (1 + 3 * 0.044715f * fminf(x * x, 1e4f));
    return dy * (0.5f * (1 + t) + 0.5f * x * ((1 - t * t) * du));
  }
};
GPUDL_ACTIVATION(gelu_tanh, flat, flat_bfloat16, GeluTanh, x);

// x·sigmoid(x).
struct Silu {
  GPUDL_DEVICE float value(float x) const { return x / (1 + expf(-x)); }
  GPUDL_DEVICE float gradient(float dy, float x) const {
    const float s = sigmoid(x);
    return dy * (s * (1 + x * (1 - s)));
  }
};
GPUDL_ACTIVATION(silu, flat, flat_bfloat16, Silu, x);

// x·tanh(log(1 + exp(x))). With e = exp(x) the hyperbolic tangent is n/(n + 2), n = e·(e + 2): 1 to the last bit from
// e = 10^4 on; for larger e, n overflows.
struct Mish {
  GPUDL_DEVICE static float bend(float x) {
    const float e = expf(x), n = e * (e + 2);
    return e > 1e4f ? 1.f : n / (n + 2);
  }
  GPUDL_DEVICE float value(float x) const { return x * bend(x); }
  GPUDL_DEVICE float gradient(float dy, float x) const {
    const float t = bend(x);
    return dy * (t + x * (sigmoid(x) * (1 - t * t)));
  }
};
GPUDL_ACTIVATION(mish, flat, flat_bfloat16, Mish, x);

// x - tanh(x).
struct Tanhshrink {
  GPUDL_DEVICE float value(float x) const { return x - tanhf(x); }
  GPUDL_DEVICE float gradient(float dy, float x) const {
    const float t = tanhf(x);
    return dy * (t * t);
  }
};
GPUDL_ACTIVATION(tanhshrink, flat, flat_bfloat16, Tanhshrink, x);

}  // namespace
}  // namespace gpudl
