// Piecewise linear activations and the like, forward and backward, run by prim::map. The comparisons are written so
// that NaN behaves as in PyTorch.
#include "ops/activation/activation.h"

namespace gpudl {
namespace {

// sass: map_kernel LDG STG registers<=40

// max(x, 0).
struct Relu {
  GPUDL_DEVICE float value(float x) const { return x <= 0 ? 0.f : x; }
  GPUDL_DEVICE float gradient(float dy, float y) const { return y <= 0 ? 0.f : dy; }
};
GPUDL_ACTIVATION(relu, flat, flat_bfloat16, Relu, y);

// x where x > 0, else slope·x.
struct LeakyRelu {
  float slope;
  GPUDL_DEVICE float value(float x) const { return x > 0 ? x : x * slope; }
  GPUDL_DEVICE float gradient(float dy, float x) const { return x > 0 ? dy : dy * slope; }
};
GPUDL_ACTIVATION(leaky_relu, flat, flat_bfloat16, LeakyRelu, x, negative_slope);

// x where x > bound, else a constant.
struct Threshold {
  float bound, otherwise;
  GPUDL_DEVICE float value(float x) const { return x <= bound ? otherwise : x; }
  GPUDL_DEVICE float gradient(float dy, float x) const { return x <= bound ? 0.f : dy; }
};
GPUDL_ACTIVATION(threshold, flat, flat_bfloat16, Threshold, x, threshold, otherwise);

// high where x >= bound, else low: a neuron that fires or not. The gradient is that of x within `clip` of the bound and
// 0 outside (straight-through estimator).
struct HardThreshold {
  float bound, low, high, clip;
  GPUDL_DEVICE float value(float x) const { return x >= bound ? high : x < bound ? low : x; }
  GPUDL_DEVICE float gradient(float dy, float x) const { return fabsf(x - bound) <= clip ? dy : 0.f; }
};
GPUDL_ACTIVATION(hard_threshold, flat, flat_bfloat16, HardThreshold, x, threshold, low, high, clip);

// x clamped to [low, high].
struct Hardtanh {
  float low, high;
  GPUDL_DEVICE float value(float x) const { return x < low ? low : x > high ? high : x; }
  GPUDL_DEVICE float gradient(float dy, float x) const { return x <= low || x >= high ? 0.f : dy; }
};
GPUDL_ACTIVATION(hardtanh, flat, flat_bfloat16, Hardtanh, x, min_val, max_val);

// (x + 3)/6 clamped to [0, 1].
struct Hardsigmoid {
  GPUDL_DEVICE static float ramp(float x) { return (x < -3 ? 0.f : x > 3 ? 6.f : x + 3) / 6; }
  GPUDL_DEVICE float value(float x) const { return ramp(x); }
  GPUDL_DEVICE float gradient(float dy, float x) const { return x > -3 && x < 3 ? dy / 6 : 0.f; }
};
GPUDL_ACTIVATION(hardsigmoid, flat, flat_bfloat16, Hardsigmoid, x);

// x·hardsigmoid(x).
struct Hardswish {
  GPUDL_DEVICE float value(float x) const { return x * Hardsigmoid::ramp(x); }
  GPUDL_DEVICE float gradient(float dy, float x) const { return x <= -3 ? 0.f : x < 3 ? dy * (x / 3 + 0.5f) : dy; }
};
GPUDL_ACTIVATION(hardswish, flat, flat_bfloat16, Hardswish, x);

// x where |x| > bound, else 0.
struct Hardshrink {
  float bound;
  GPUDL_DEVICE float value(float x) const { return x >= -bound && x <= bound ? 0.f : x; }
  GPUDL_DEVICE float gradient(float dy, float x) const { return x <= bound && x >= -bound ? 0.f : dy; }
};
GPUDL_ACTIVATION(hardshrink, flat, flat_bfloat16, Hardshrink, x, lambd);

// x moved towards 0 by bound.
struct Softshrink {
  float bound;
  GPUDL_DEVICE float value(float x) const { return x > bound ? x - bound : x < -bound ? x + bound : x * 0.f; }
  GPUDL_DEVICE float gradient(float dy, float x) const { return x <= bound && x >= -bound ? 0.f : dy; }
};
GPUDL_ACTIVATION(softshrink, flat, flat_bfloat16, Softshrink, x, lambd);

// x / (1 + |x|).
struct Softsign {
  GPUDL_DEVICE float value(float x) const { return x / (1 + fabsf(x)); }
  GPUDL_DEVICE float gradient(float dy, float x) const {
    const float scale = 1 + fabsf(x);
    return dy / (scale * scale);
  }
};
GPUDL_ACTIVATION(softsign, flat, flat_bfloat16, Softsign, x);

}  // namespace
}  // namespace gpudl
