// Losses of pairs: one function object gives the launchers of a loss that is elementwise in x and target and then
// reduced to a sum or a mean.
//
//   struct Huber {
//     using Parameters = Types<float>;  // of the launchers: the object's members, in order
//     float delta;
//     GPUDL_DEVICE float value(float x, float t) const { … }
//     GPUDL_DEVICE float dx(float x, float t) const { … }
//     GPUDL_DEVICE float dt(float x, float t) const { … }
//   };
//   GPUDL_PAIR_LOSS(huber_loss, flat, Huber, delta);
//
// exports huber_loss_forward_flat(x, target, y, workspace, reduced, averaged, delta) and
// huber_loss_backward_flat(x, target, dy, dx, dtarget, reduced, averaged, delta). A loss with more inputs calls
// pair_loss_forward and pair_loss_backward itself; its methods may take the element's index first.
#pragma once
#include "core/export.h"
#include "prim/map_sum.h"

namespace gpudl::prim {

template <class... T>
struct Types {};

using Workspace = View<float, 1>;

struct Reduction {
  bool reduced, averaged;
};

template <class L>
struct LossValue {
  L loss;
  GPUDL_DEVICE float operator()(int64_t i, float x, float t) const {
    if constexpr (requires { loss.value(i, x, t); }) return loss.value(i, x, t);
    else return loss.value(x, t);
  }
};

// The derivative by x, or by the target, without dy.
template <class L, bool OF_TARGET>
struct LossSlope {
  L loss;
  GPUDL_DEVICE float operator()(int64_t i, float x, float t) const {
    if constexpr (requires { loss.dx(i, x, t); }) return OF_TARGET ? loss.dt(i, x, t) : loss.dx(i, x, t);
    else return OF_TARGET ? loss.dt(x, t) : loss.dx(x, t);
  }
};

// The gradient of a reduced loss: dy is one number on the device.
template <class Slope>
struct ReducedGradient {
  Slope slope;
  const float* dy;
  float scale;
  GPUDL_DEVICE float operator()(int64_t i, float x, float t) const { return slope(i, x, t) * scale * *dy; }
};

template <class Slope>
struct EachGradient {
  Slope slope;
  GPUDL_DEVICE float operator()(int64_t i, float x, float t, float dy) const { return slope(i, x, t) * dy; }
};

template <class L>
void pair_loss_forward(L loss, Flat<const float> x, Flat<const float> target, Flat<float> y, Workspace workspace,
                       Reduction reduction) {
  if (!reduction.reduced) return map_indexed(LossValue<L>{loss}, y, x, target);
  const float divisor = reduction.averaged ? static_cast<float>(x.size()) : 1.f;
  map_sum(LossValue<L>{loss}, y.data, divisor, workspace.data, x, target);
}

inline int64_t pair_loss_workspace(bool reduced) { return reduced ? SUM_PARTS : 0; }

template <class Slope>
void pair_loss_gradient(Slope slope, Flat<const float> x, Flat<const float> target, Flat<const float> dy,
                        Maybe<Flat<float>> out, Reduction reduction) {
  if (!out) return;
  const float scale = reduction.averaged ? 1.f / static_cast<float>(x.size()) : 1.f;
  if (reduction.reduced) map_indexed<ReducedGradient<Slope>, float>({slope, dy.data, scale}, out, x, target);
  else map_indexed<EachGradient<Slope>, float>({slope}, out, x, target, dy);
}

template <class L>
void pair_loss_backward(L loss, Flat<const float> x, Flat<const float> target, Flat<const float> dy,
                        Maybe<Flat<float>> dx, Maybe<Flat<float>> dtarget, Reduction reduction) {
  pair_loss_gradient(LossSlope<L, false>{loss}, x, target, dy, dx, reduction);
  pair_loss_gradient(LossSlope<L, true>{loss}, x, target, dy, dtarget, reduction);
}

template <class L, class Parameters = typename L::Parameters>
struct PairLoss;

template <class L, class... P>
struct PairLoss<L, Types<P...>> {
  static void forward(Flat<const float> x, Flat<const float> target, Flat<float> y, Workspace workspace, bool reduced,
                      bool averaged, P... parameters) {
    pair_loss_forward(L{parameters...}, x, target, y, workspace, {reduced, averaged});
  }
  static void backward(Flat<const float> x, Flat<const float> target, Flat<const float> dy, Maybe<Flat<float>> dx,
                       Maybe<Flat<float>> dtarget, bool reduced, bool averaged, P... parameters) {
    pair_loss_backward(L{parameters...}, x, target, dy, dx, dtarget, {reduced, averaged});
  }
};

}  // namespace gpudl::prim

#define GPUDL_PAIR_LOSS(op, algorithm, L, ...)                                                                \
  constexpr auto& op##_forward_##algorithm = ::gpudl::prim::PairLoss<L>::forward;                             \
  GPUDL_EXPORT(op, forward, algorithm, x, target, y, workspace, reduced, averaged __VA_OPT__(, ) __VA_ARGS__) \
      .workspace<::gpudl::prim::pair_loss_workspace>("reduced");                                              \
  constexpr auto& op##_backward_##algorithm = ::gpudl::prim::PairLoss<L>::backward;                           \
  GPUDL_EXPORT(op, backward, algorithm, x, target, dy, dx, dtarget, reduced, averaged __VA_OPT__(, ) __VA_ARGS__)
