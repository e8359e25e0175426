// One declaration an activation: a function object with its value and its gradient makes two launchers.
//
//   struct Elu {
//     float alpha;
//     GPUDL_DEVICE float value(float x) const { … }
//     GPUDL_DEVICE float gradient(float dy, float x) const { … }  // from the saved array: x, or the output y
//   };
//   GPUDL_ACTIVATION(elu, Elu, x, alpha);
//
// exports elu_forward_flat(x, y, alpha) and elu_backward_flat(dy, x, dx, alpha). The parameters are the object's
// members in their order, all of them float.
#pragma once
#include <utility>

#include "core/export.h"
#include "prim/elementwise.h"

namespace gpudl::prim {

template <class F>
struct ActivationValue {
  F f;
  GPUDL_DEVICE float operator()(float x) const { return f.value(x); }
};

template <class F>
struct ActivationGradient {
  F f;
  GPUDL_DEVICE float operator()(float dy, float saved) const { return f.gradient(dy, saved); }
};

template <size_t>
using OneReal = float;

template <class F, class Indices>
struct ActivationLaunchers;

template <class F, size_t... I>
struct ActivationLaunchers<F, std::index_sequence<I...>> {
  static void forward(Flat<const float> x, Flat<float> y, OneReal<I>... parameters) {
    map(ActivationValue<F>{F{parameters...}}, y, x);
  }
  static void backward(Flat<const float> dy, Flat<const float> saved, Flat<float> dx, OneReal<I>... parameters) {
    map(ActivationGradient<F>{F{parameters...}}, dx, dy, saved);
  }
  static bool add(const char* forward_name, const char* forward_arguments, const char* backward_name,
                  const char* backward_arguments) {
    return Export<&forward>::add(forward_name, forward_arguments) &&
           Export<&backward>::add(backward_name, backward_arguments);
  }
};

// 1 / (1 + exp(-x)). The exponential may overflow to infinity, which gives the right 0.
GPUDL_DEVICE float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

}  // namespace gpudl::prim

#define GPUDL_ACTIVATION(name, F, saved, ...)                                                                   \
  static const bool name##_exported =                                                                           \
      ::gpudl::prim::ActivationLaunchers<F, std::make_index_sequence<::gpudl::count_names(#__VA_ARGS__)>>::add( \
          #name "_forward_flat", "x, y" __VA_OPT__(", " #__VA_ARGS__), #name "_backward_flat",                  \
          "dy, " #saved ", dx" __VA_OPT__(", " #__VA_ARGS__))
