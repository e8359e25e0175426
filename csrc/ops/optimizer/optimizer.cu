// The optimizers' rules: the new value of parameter p with gradient g, and of its state (ops/optimizer/update.h). The
// definitions in gpudl/ops/optimizer/rules.py name the numbers in `h` and the sources.
#include "core/export.h"
#include "ops/optimizer/update.h"

// sass: update_kernel LDG STG registers<=80

namespace gpudl {
namespace {

using prim::Blocks;
using prim::Rows;
using prim::update;
using prim::UpdateArguments;
using Values = View<float, 1>;
using State = Maybe<View<float, 1>>;
using Gradients = View<const float, 1>;
using Hyper = View<const float, 2>;

// lr, momentum, keep, first.
struct PlainSgd {
  static constexpr int STATES = 0, NUMBERS = 4;
  GPUDL_DEVICE float operator()(float p, float g, float (&)[1], const float (&h)[4]) const { return p - h[0] * g; }
};

struct Sgd {
  static constexpr int STATES = 1, NUMBERS = 4;
  bool nesterov, velocity;
  GPUDL_DEVICE float operator()(float p, float g, float (&state)[1], const float (&h)[4]) const {
    const float lr = h[0], momentum = h[1], keep = h[2];
    const bool first = h[3] != 0;
    if (velocity) {  // v = momentum·v - lr·g
      const float before = first ? 0.f : state[0], v = momentum * before - lr * keep * g;
      state[0] = v;
      return nesterov ? p + (v + momentum * (v - before)) : p + v;
    }
    const float b = first ? g : momentum * state[0] + keep * g;
    state[0] = b;
    return p - lr * (nesterov ? g + momentum * b : b);
  }
};

void sgd_forward_flat(Values param, Gradients grad, Hyper hyper, Rows rows, Blocks blocks, State momentum_buffer,
                      bool maximize, bool nesterov, bool velocity) {
  const UpdateArguments a{param, grad, hyper, rows, blocks, maximize};
  if (momentum_buffer) update(Sgd{nesterov, velocity}, a, {momentum_buffer.data});
  else update(PlainSgd{}, a, {});
}
GPUDL_EXPORT(sgd, forward, flat, param, grad, hyper, rows, blocks, momentum_buffer, maximize, nesterov, velocity);

// sqrt(x) + eps, or sqrt(x + eps).
GPUDL_DEVICE float root(float x, float eps, bool inside) { return inside ? __fsqrt_rn(x + eps) : __fsqrt_rn(x) + eps; }

// lr, eps.
struct Adagrad {
  static constexpr int STATES = 1, NUMBERS = 2;
  bool eps_inside;
  GPUDL_DEVICE float operator()(float p, float g, float (&state)[1], const float (&h)[2]) const {
    state[0] += g * g;
    return p - h[0] * __fdiv_rn(g, root(state[0], h[1], eps_inside));
  }
};

void adagrad_forward_flat(Values param, Gradients grad, Hyper hyper, Rows rows, Blocks blocks, Values sum,
                          bool maximize, bool eps_inside) {
  update(Adagrad{eps_inside}, {param, grad, hyper, rows, blocks, maximize}, {sum.data});
}
GPUDL_EXPORT(adagrad, forward, flat, param, grad, hyper, rows, blocks, sum, maximize, eps_inside);

// lr, rho, rest, eps; the state is square_avg, acc_delta.
struct Adadelta {
  static constexpr int STATES = 2, NUMBERS = 4;
  GPUDL_DEVICE float operator()(float p, float g, float (&state)[2], const float (&h)[4]) const {
    state[0] = h[1] * state[0] + h[2] * (g * g);
    const float step = __fmul_rn(__fdiv_rn(__fsqrt_rn(state[1] + h[3]), __fsqrt_rn(state[0] + h[3])), g);
    state[1] = h[1] * state[1] + h[2] * (step * step);
    return p - h[0] * step;
  }
};

void adadelta_forward_flat(Values param, Gradients grad, Hyper hyper, Rows rows, Blocks blocks, Values square_avg,
                           Values acc_delta, bool maximize) {
  update(Adadelta{}, {param, grad, hyper, rows, blocks, maximize}, {square_avg.data, acc_delta.data});
}
GPUDL_EXPORT(adadelta, forward, flat, param, grad, hyper, rows, blocks, square_avg, acc_delta, maximize);

// lr, alpha, rest, eps, momentum; the state is square_avg, then grad_avg and momentum_buffer if used.
template <bool CENTERED, bool MOMENTUM>
struct Rmsprop {
  static constexpr int STATES = 1 + CENTERED + MOMENTUM, NUMBERS = 5;
  bool eps_inside;
  GPUDL_DEVICE float operator()(float p, float g, float (&state)[STATES], const float (&h)[5]) const {
    const float lr = h[0], alpha = h[1], rest = h[2], eps = h[3], momentum = h[4];
    float spread = state[0] = alpha * state[0] + rest * (g * g);
    if constexpr (CENTERED) {
      const float mean = state[1] = state[1] + rest * (g - state[1]);
      spread -= mean * mean;
    }
    float step = __fdiv_rn(g, root(spread, eps, eps_inside));
    if constexpr (MOMENTUM) step = state[STATES - 1] = momentum * state[STATES - 1] + step;
    return p - lr * step;
  }
};

void rmsprop_forward_flat(Values param, Gradients grad, Hyper hyper, Rows rows, Blocks blocks, Values square_avg,
                          State grad_avg, State momentum_buffer, bool maximize, bool eps_inside) {
  const UpdateArguments a{param, grad, hyper, rows, blocks, maximize};
  float* const square = square_avg.data;
  if (grad_avg && momentum_buffer)
    update(Rmsprop<true, true>{eps_inside}, a, {square, grad_avg.data, momentum_buffer.data});
  else if (grad_avg) update(Rmsprop<true, false>{eps_inside}, a, {square, grad_avg.data});
  else if (momentum_buffer) update(Rmsprop<false, true>{eps_inside}, a, {square, momentum_buffer.data});
  else update(Rmsprop<false, false>{eps_inside}, a, {square});
}
GPUDL_EXPORT(rmsprop, forward, flat, param, grad, hyper, rows, blocks, square_avg, grad_avg, momentum_buffer, maximize,
             eps_inside);

// etaminus, etaplus, least, most; the state is prev, step_size.
struct Rprop {
  static constexpr int STATES = 2, NUMBERS = 4;
  GPUDL_DEVICE float operator()(float p, float g, float (&state)[2], const float (&h)[4]) const {
    const float agreement = g * state[0];
    const float size = state[1] * (agreement > 0 ? h[1] : agreement < 0 ? h[0] : 1.f);
    state[1] = size < h[2] ? h[2] : size > h[3] ? h[3] : size;
    if (agreement < 0) g = 0;
    state[0] = g;
    return p - static_cast<float>((g > 0) - (g < 0)) * state[1];
  }
};

void rprop_forward_flat(Values param, Gradients grad, Hyper hyper, Rows rows, Blocks blocks, Values prev,
                        Values step_size, bool maximize) {
  update(Rprop{}, {param, grad, hyper, rows, blocks, maximize}, {prev.data, step_size.data});
}
GPUDL_EXPORT(rprop, forward, flat, param, grad, hyper, rows, blocks, prev, step_size, maximize);

// eta, shrink, mu; the state is ax.
struct Asgd {
  static constexpr int STATES = 1, NUMBERS = 3;
  GPUDL_DEVICE float operator()(float p, float g, float (&state)[1], const float (&h)[3]) const {
    const float now = p * h[1] - h[0] * g;
    state[0] = h[2] == 1 ? now : state[0] + (now - state[0]) * h[2];
    return now;
  }
};

void asgd_forward_flat(Values param, Gradients grad, Hyper hyper, Rows rows, Blocks blocks, Values ax, bool maximize) {
  update(Asgd{}, {param, grad, hyper, rows, blocks, maximize}, {ax.data});
}
GPUDL_EXPORT(asgd, forward, flat, param, grad, hyper, rows, blocks, ax, maximize);

}  // namespace
}  // namespace gpudl
