// Updates of parameters, one launch over the flat arena of all of them. Grid: one thread per element.
// `hyper` holds the rule's numbers (gpudl/ops/optimizer.py names them) on the device, so that a captured graph may be
// replayed with others. `active` marks the elements to update; absent: all. The others and their state stay as they
// are.
#include "core/export.h"
#include "platform/device.h"

// sass: optimizer_kernel registers<=40

namespace gpudl {
namespace {

constexpr int BLOCK = 256;

using Values = View<float, 1>;
using State = Maybe<View<float, 1>>;
using Gradients = View<const float, 1>;
using Hyper = View<const float, 1>;
using Active = Maybe<View<const uint8_t, 1>>;

template <class Rule>
__global__ void __launch_bounds__(BLOCK)
    optimizer_kernel(Rule rule, Values param, Gradients grad, Hyper hyper, Active active, bool maximize) {
  const int64_t i = static_cast<int64_t>(blockIdx.x) * BLOCK + threadIdx.x;
  if (i >= param.size() || (active && !active.data[i])) return;
  const float p = param.data[i], weight_decay = hyper(0), l1 = hyper(1);
  float g = maximize ? -grad.data[i] : grad.data[i];
  if (weight_decay != 0) g += weight_decay * p;
  if (l1 != 0) g += l1 * static_cast<float>((p > 0) - (p < 0));
  param.data[i] = rule(p, g, i, hyper.data + 2);
}

template <class Rule>
void update(Rule rule, Values param, Gradients grad, Hyper hyper, Active active, bool maximize) {
  const auto blocks = static_cast<unsigned>((param.size() + BLOCK - 1) / BLOCK);
  launch(optimizer_kernel<Rule>, dim3(blocks), BLOCK, 0, rule, param, grad, hyper, active, maximize);
}

// The rules: new value of parameter p with gradient g; they read and write element i of their state.

struct Sgd {
  State buffer;
  bool nesterov, velocity;
  GPUDL_DEVICE float operator()(float p, float g, int64_t i, const float* hyper) const {
    const float lr = hyper[0], momentum = hyper[1], keep = hyper[2];
    const bool first = hyper[3] != 0;
    if (!buffer) return p - lr * g;
    if (velocity) {  // v = momentum·v - lr·g
      const float before = first ? 0.f : buffer.data[i], v = momentum * before - lr * keep * g;
      buffer.data[i] = v;
      return nesterov ? p + (v + momentum * (v - before)) : p + v;
    }
    const float b = first ? g : momentum * buffer.data[i] + keep * g;
    buffer.data[i] = b;
    return p - lr * (nesterov ? g + momentum * b : b);
  }
};

// sqrt(x) + eps, or sqrt(x + eps).
GPUDL_DEVICE float root(float x, float eps, bool inside) { return inside ? __fsqrt_rn(x + eps) : __fsqrt_rn(x) + eps; }

struct Adagrad {
  Values sum;
  bool eps_inside;
  GPUDL_DEVICE float operator()(float p, float g, int64_t i, const float* hyper) const {
    const float lr = hyper[0], eps = hyper[1];
    const float s = sum.data[i] + g * g;
    sum.data[i] = s;
    return p - lr * __fdiv_rn(g, root(s, eps, eps_inside));
  }
};

struct Rmsprop {
  Values square_avg;
  State grad_avg, buffer;
  bool eps_inside;
  GPUDL_DEVICE float operator()(float p, float g, int64_t i, const float* hyper) const {
    const float lr = hyper[0], alpha = hyper[1], rest = hyper[2], eps = hyper[3], momentum = hyper[4];
    const float square = alpha * square_avg.data[i] + rest * (g * g);
    square_avg.data[i] = square;
    float spread = square;
    if (grad_avg) {
      const float mean = grad_avg.data[i] + rest * (g - grad_avg.data[i]);
      grad_avg.data[i] = mean;
      spread = square - mean * mean;
    }
    const float step = __fdiv_rn(g, root(spread, eps, eps_inside));
    if (!buffer) return p - lr * step;
    const float b = momentum * buffer.data[i] + step;
    buffer.data[i] = b;
    return p - lr * b;
  }
};

struct Adam {
  Values exp_avg, exp_avg_sq;
  State max_exp_avg_sq;
  GPUDL_DEVICE float operator()(float p, float g, int64_t i, const float* hyper) const {
    const float decay = hyper[0], gain = hyper[1], beta2 = hyper[2], rest2 = hyper[3];
    const float step = hyper[4], root2 = hyper[5], eps = hyper[6];
    const float mean = exp_avg.data[i] + gain * (g - exp_avg.data[i]);
    float square = beta2 * exp_avg_sq.data[i] + rest2 * (g * g);
    exp_avg.data[i] = mean;
    exp_avg_sq.data[i] = square;
    if (max_exp_avg_sq) {
      const float largest = max_exp_avg_sq.data[i];
      square = square > largest || square != square ? square : largest;  // a NaN stays
      max_exp_avg_sq.data[i] = square;
    }
    return p * decay - step * __fdiv_rn(mean, __fdiv_rn(__fsqrt_rn(square), root2) + eps);
  }
};

void sgd_forward_flat(Values param, Gradients grad, Hyper hyper, Active active, State momentum_buffer, bool maximize,
                      bool nesterov, bool velocity) {
  update(Sgd{momentum_buffer, nesterov, velocity}, param, grad, hyper, active, maximize);
}
GPUDL_EXPORT(sgd_forward_flat, param, grad, hyper, active, momentum_buffer, maximize, nesterov, velocity);

void adagrad_forward_flat(Values param, Gradients grad, Hyper hyper, Active active, Values sum, bool maximize,
                          bool eps_inside) {
  update(Adagrad{sum, eps_inside}, param, grad, hyper, active, maximize);
}
GPUDL_EXPORT(adagrad_forward_flat, param, grad, hyper, active, sum, maximize, eps_inside);

void rmsprop_forward_flat(Values param, Gradients grad, Hyper hyper, Active active, Values square_avg, State grad_avg,
                          State momentum_buffer, bool maximize, bool eps_inside) {
  update(Rmsprop{square_avg, grad_avg, momentum_buffer, eps_inside}, param, grad, hyper, active, maximize);
}
GPUDL_EXPORT(rmsprop_forward_flat, param, grad, hyper, active, square_avg, grad_avg, momentum_buffer, maximize,
             eps_inside);

void adam_forward_flat(Values param, Gradients grad, Hyper hyper, Active active, Values exp_avg, Values exp_avg_sq,
                       State max_exp_avg_sq, bool maximize) {
  update(Adam{exp_avg, exp_avg_sq, max_exp_avg_sq}, param, grad, hyper, active, maximize);
}
GPUDL_EXPORT(adam_forward_flat, param, grad, hyper, active, exp_avg, exp_avg_sq, max_exp_avg_sq, maximize);

}  // namespace
}  // namespace gpudl
