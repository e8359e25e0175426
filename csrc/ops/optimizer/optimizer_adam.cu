// The rules of Adam and its variants (ops/optimizer/update.h): means of the gradient and of its square.
#include "core/export.h"
#include "ops/optimizer/update.h"

// sass: update_kernel LDG STG registers<=80

namespace gpudl {
namespace {

using prim::Blocks;
using prim::Rows;
using prim::update;
using Values = View<float, 1>;
using State = Maybe<View<float, 1>>;
using Gradients = View<const float, 1>;
using Hyper = View<const float, 2>;

// The larger of a and b; NaN in a wins.
GPUDL_DEVICE float larger(float a, float b) { return a > b || a != a ? a : b; }

// Update the means of the gradient and of its square; state = {exp_avg, exp_avg_sq, …}.
template <int N>
GPUDL_DEVICE void move_means(float (&state)[N], float g, float gain, float beta2, float rest2) {
  state[0] += gain * (g - state[0]);
  state[1] = beta2 * state[1] + rest2 * (g * g);
}

// decay, gain, beta2, rest2, step, root2, eps; the state is exp_avg, exp_avg_sq and, for AMSGrad, max_exp_avg_sq.
template <bool AMSGRAD>
struct Adam {
  static constexpr int STATES = 2 + AMSGRAD, NUMBERS = 7;
  GPUDL_DEVICE float operator()(float p, float g, float (&state)[STATES], const float (&h)[7]) const {
    move_means(state, g, h[1], h[2], h[3]);
    float square = state[1];
    if constexpr (AMSGRAD) square = state[2] = larger(square, state[2]);
    return p * h[0] - h[4] * __fdiv_rn(state[0], __fdiv_rn(__fsqrt_rn(square), h[5]) + h[6]);
  }
};

void adam_forward_flat(Values param, Gradients grad, Hyper hyper, Rows rows, Blocks blocks, Values exp_avg,
                       Values exp_avg_sq, State max_exp_avg_sq, bool maximize) {
  const prim::UpdateArguments a{param, grad, hyper, rows, blocks, maximize};
  if (max_exp_avg_sq) update(Adam<true>{}, a, {exp_avg.data, exp_avg_sq.data, max_exp_avg_sq.data});
  else update(Adam<false>{}, a, {exp_avg.data, exp_avg_sq.data});
}
GPUDL_EXPORT(adam, forward, flat, param, grad, hyper, rows, blocks, exp_avg, exp_avg_sq, max_exp_avg_sq, maximize);

// gain, beta2, step, eps; the state is exp_avg, exp_inf.
struct Adamax {
  static constexpr int STATES = 2, NUMBERS = 4;
  GPUDL_DEVICE float operator()(float p, float g, float (&state)[2], const float (&h)[4]) const {
    state[0] += h[0] * (g - state[0]);
    state[1] = larger(fabsf(g) + h[3], h[1] * state[1]);
    return p - h[2] * __fdiv_rn(state[0], state[1]);
  }
};

void adamax_forward_flat(Values param, Gradients grad, Hyper hyper, Rows rows, Blocks blocks, Values exp_avg,
                         Values exp_inf, bool maximize) {
  update(Adamax{}, {param, grad, hyper, rows, blocks, maximize}, {exp_avg.data, exp_inf.data});
}
GPUDL_EXPORT(adamax, forward, flat, param, grad, hyper, rows, blocks, exp_avg, exp_inf, maximize);

// decay, gain, beta2, rest2, root2, eps, now, ahead; the state is exp_avg, exp_avg_sq.
struct Nadam {
  static constexpr int STATES = 2, NUMBERS = 8;
  GPUDL_DEVICE float operator()(float p, float g, float (&state)[2], const float (&h)[8]) const {
    move_means(state, g, h[1], h[2], h[3]);
    const float scale = __fdiv_rn(__fsqrt_rn(state[1]), h[4]) + h[5];
    return p * h[0] - __fdiv_rn(h[6] * g + h[7] * state[0], scale);
  }
};

void nadam_forward_flat(Values param, Gradients grad, Hyper hyper, Rows rows, Blocks blocks, Values exp_avg,
                        Values exp_avg_sq, bool maximize) {
  update(Nadam{}, {param, grad, hyper, rows, blocks, maximize}, {exp_avg.data, exp_avg_sq.data});
}
GPUDL_EXPORT(nadam, forward, flat, param, grad, hyper, rows, blocks, exp_avg, exp_avg_sq, maximize);

// decay, gain, beta2, rest2, step, rectified, eps; the state is exp_avg, exp_avg_sq.
struct Radam {
  static constexpr int STATES = 2, NUMBERS = 7;
  GPUDL_DEVICE float operator()(float p, float g, float (&state)[2], const float (&h)[7]) const {
    move_means(state, g, h[1], h[2], h[3]);
    const float scale = h[5] == 0 ? 1.f : __fdiv_rn(h[5], __fsqrt_rn(state[1]) + h[6]);
    return p * h[0] - h[4] * state[0] * scale;
  }
};

void radam_forward_flat(Values param, Gradients grad, Hyper hyper, Rows rows, Blocks blocks, Values exp_avg,
                        Values exp_avg_sq, bool maximize) {
  update(Radam{}, {param, grad, hyper, rows, blocks, maximize}, {exp_avg.data, exp_avg_sq.data});
}
GPUDL_EXPORT(radam, forward, flat, param, grad, hyper, rows, blocks, exp_avg, exp_avg_sq, maximize);

}  // namespace
}  // namespace gpudl
