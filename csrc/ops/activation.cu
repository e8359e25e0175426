// Elementwise activations, forward and backward: one function object each, run by prim::map.
// The comparisons are written so that NaN passes.
#include "core/export.h"
#include "prim/elementwise.h"

namespace gpudl {
namespace {

using prim::Flat;

// sass: map_kernel LDG STG registers<=40

// y = max(x, 0).
struct Relu {
  GPUDL_DEVICE float operator()(float x) const { return x <= 0 ? 0.f : x; }
};
struct ReluGradient {
  GPUDL_DEVICE float operator()(float dy, float y) const { return y <= 0 ? 0.f : dy; }
};

void relu_forward_flat(Flat<const float> x, Flat<float> y) { prim::map(Relu{}, y, x); }
GPUDL_EXPORT(relu_forward_flat, x, y);

void relu_backward_flat(Flat<const float> dy, Flat<const float> y, Flat<float> dx) {
  prim::map(ReluGradient{}, dx, dy, y);
}
GPUDL_EXPORT(relu_backward_flat, dy, y, dx);

// y = x where x > 0, else slope * x.
struct LeakyRelu {
  float slope;
  GPUDL_DEVICE float operator()(float x) const { return x > 0 ? x : x * slope; }
};
struct LeakyReluGradient {
  float slope;
  GPUDL_DEVICE float operator()(float dy, float x) const { return x > 0 ? dy : dy * slope; }
};

void leaky_relu_forward_flat(Flat<const float> x, Flat<float> y, float negative_slope) {
  prim::map(LeakyRelu{negative_slope}, y, x);
}
GPUDL_EXPORT(leaky_relu_forward_flat, x, y, negative_slope);

void leaky_relu_backward_flat(Flat<const float> dy, Flat<const float> x, Flat<float> dx, float negative_slope) {
  prim::map(LeakyReluGradient{negative_slope}, dx, dy, x);
}
GPUDL_EXPORT(leaky_relu_backward_flat, dy, x, dx, negative_slope);

// y = 1 / (1 + exp(-x)). The exponential may overflow to infinity, which gives the right 0.
GPUDL_DEVICE float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

struct Sigmoid {
  GPUDL_DEVICE float operator()(float x) const { return sigmoid(x); }
};
struct SigmoidGradient {
  GPUDL_DEVICE float operator()(float dy, float y) const { return dy * (y * (1.f - y)); }
};

void sigmoid_forward_flat(Flat<const float> x, Flat<float> y) { prim::map(Sigmoid{}, y, x); }
GPUDL_EXPORT(sigmoid_forward_flat, x, y);

void sigmoid_backward_flat(Flat<const float> dy, Flat<const float> y, Flat<float> dx) {
  prim::map(SigmoidGradient{}, dx, dy, y);
}
GPUDL_EXPORT(sigmoid_backward_flat, dy, y, dx);

struct Tanh {
  GPUDL_DEVICE float operator()(float x) const { return tanhf(x); }
};
struct TanhGradient {
  GPUDL_DEVICE float operator()(float dy, float y) const { return dy * (1.f - y * y); }
};

void tanh_forward_flat(Flat<const float> x, Flat<float> y) { prim::map(Tanh{}, y, x); }
GPUDL_EXPORT(tanh_forward_flat, x, y);

void tanh_backward_flat(Flat<const float> dy, Flat<const float> y, Flat<float> dx) {
  prim::map(TanhGradient{}, dx, dy, y);
}
GPUDL_EXPORT(tanh_backward_flat, dy, y, dx);

// y = log(1 + exp(beta*x)) / beta, from the smaller exponential; x itself where beta*x > threshold.
struct Softplus {
  float beta, threshold;
  GPUDL_DEVICE float operator()(float x) const {
    const float z = x * beta;
    return z > threshold ? x : ((z > 0 ? z : z == z ? 0.f : z) + log1pf(expf(-fabsf(z)))) / beta;
  }
};
struct SoftplusGradient {
  float beta, threshold;
  GPUDL_DEVICE float operator()(float dy, float x) const {
    const float z = x * beta;
    return z > threshold ? dy : dy * sigmoid(z);
  }
};

void softplus_forward_flat(Flat<const float> x, Flat<float> y, float beta, float threshold) {
  prim::map(Softplus{beta, threshold}, y, x);
}
GPUDL_EXPORT(softplus_forward_flat, x, y, beta, threshold);

void softplus_backward_flat(Flat<const float> dy, Flat<const float> x, Flat<float> dx, float beta, float threshold) {
  prim::map(SoftplusGradient{beta, threshold}, dx, dy, x);
}
GPUDL_EXPORT(softplus_backward_flat, dy, x, dx, beta, threshold);

}  // namespace
}  // namespace gpudl
