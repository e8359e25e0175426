// One declaration an activation: a function object with its value and its gradient makes two launchers.
//
//   struct Elu {
//     float alpha;
//     GPUDL_DEVICE float value(float x) const { … }
//     GPUDL_DEVICE float gradient(float dy, float x) const { … }  // from the saved array: x, or the output y
//   };
//   GPUDL_ACTIVATION(elu, Elu, x, alpha);
//
// exports elu_forward_flat(x, y, alpha) and elu_backward_flat(dy, x, dx, alpha), and the same with `_bfloat16` behind,
// which compute in float32 all the same. The parameters are the object's
// members in their order, all of them float.
#pragma once
#include <string>
#include <type_traits>
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
struct ActivationLaunchers;

template <class F, class T, size_t... I>
struct ActivationLaunchers<F, T, std::index_sequence<I...>> {
  static void forward(Flat<const T> x, Flat<T> y, OneReal<I>... parameters) {
    map(ActivationValue<F, T>{F{parameters...}}, y, x);
  }
  static void backward(Flat<const T> dy, Flat<const T> saved, Flat<T> dx, OneReal<I>... parameters) {
    map(ActivationSlope<F, T>{F{parameters...}}, dx, dy, saved);
  }
  static bool add(const std::string& name, const char* forward_arguments, const char* backward_arguments) {
    const char* suffix = std::is_same_v<T, bfloat16> ? "_flat_bfloat16" : "_flat";
    return Export<&forward>::add((name + "_forward" + suffix).c_str(), forward_arguments) &&
           Export<&backward>::add((name + "_backward" + suffix).c_str(), backward_arguments);
  }
};

template <class F, size_t COUNT>
bool add_activation(const char* name, const char* forward_arguments, const char* backward_arguments) {
  using Indices = std::make_index_sequence<COUNT>;
  return ActivationLaunchers<F, float, Indices>::add(name, forward_arguments, backward_arguments) &&
         ActivationLaunchers<F, bfloat16, Indices>::add(name, forward_arguments, backward_arguments);
}

// 1 / (1 + exp(-x)). The exponential may overflow to infinity, which gives the right 0.
GPUDL_DEVICE float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

}  // namespace gpudl::prim

#define GPUDL_ACTIVATION(name, F, saved, ...)                                                               \
  static const bool name##_exported = ::gpudl::prim::add_activation<F, ::gpudl::count_names(#__VA_ARGS__)>( \
      #name, "x, y" __VA_OPT__(", " #__VA_ARGS__), "dy, " #saved ", dx" __VA_OPT__(", " #__VA_ARGS__))
