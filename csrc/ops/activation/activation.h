// One declaration per activation: a function object with its value and gradient gives two launchers.
//
//   struct Elu {
//     float alpha;
//     GPUDL_DEVICE float value(float x) const { … }
//     GPUDL_DEVICE float gradient(float dy, float x) const { … }  // from the saved array: x, or the output y
//   };
//   GPUDL_ACTIVATION(elu, flat, flat_bfloat16, Elu, x, alpha);
//
// exports elu_forward_flat(x, y, alpha) and elu_backward_flat(dy, x, dx, alpha) for float32, and the same for bfloat16,
// which also computes in float32. The parameters are the object's members in order, all of them float.
#pragma once
#include <utility>

#include "core/export.h"
#include "prim/elementwise.h"

namespace gpudl::prim {

template <class F, class T>
struct ActivationValue {
  F f;
  GPUDL_DEVICE T operator()(T x) const { return from_float<T>(f.value(as_float(x))); }
};

template <class F, class T>
struct ActivationSlope {
  F f;
  GPUDL_DEVICE T operator()(T dy, T saved) const { return from_float<T>(f.gradient(as_float(dy), as_float(saved))); }
};

template <size_t>
using OneReal = float;

template <class F, class T, class Indices>
struct ActivationOf;

template <class F, class T, size_t... I>
struct ActivationOf<F, T, std::index_sequence<I...>> {
  static void forward(Flat<const T> x, Flat<T> y, OneReal<I>... parameters) {
    map(ActivationValue<F, T>{F{parameters...}}, y, x);
  }
  static void backward(Flat<const T> dy, Flat<const T> saved, Flat<T> dx, OneReal<I>... parameters) {
    map(ActivationSlope<F, T>{F{parameters...}}, dx, dy, saved);
  }
};

// The launchers of an activation with COUNT parameters.
template <class F, class T, size_t COUNT>
using Activation = ActivationOf<F, T, std::make_index_sequence<COUNT>>;

// 1 / (1 + exp(-x)). If the exponential overflows to infinity, the result is the limit, 0.
GPUDL_DEVICE float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

}  // namespace gpudl::prim

#define GPUDL_ACTIVATION(op, algorithm, bfloat16_algorithm, F, saved, ...)        \
  GPUDL_ACTIVATION_OF(op, algorithm, F, float, saved __VA_OPT__(, ) __VA_ARGS__); \
  GPUDL_ACTIVATION_OF(op, bfloat16_algorithm, F, ::gpudl::bfloat16, saved __VA_OPT__(, ) __VA_ARGS__)

#define GPUDL_ACTIVATION_OF(op, algorithm, F, T, saved, ...)                         \
  constexpr auto& op##_forward_##algorithm =                                         \
      ::gpudl::prim::Activation<F, T, ::gpudl::count_names(#__VA_ARGS__)>::forward;  \
  GPUDL_EXPORT(op, forward, algorithm, x, y __VA_OPT__(, ) __VA_ARGS__);             \
  constexpr auto& op##_backward_##algorithm =                                        \
      ::gpudl::prim::Activation<F, T, ::gpudl::count_names(#__VA_ARGS__)>::backward; \
  GPUDL_EXPORT(op, backward, algorithm, dy, saved, dx __VA_OPT__(, ) __VA_ARGS__)
