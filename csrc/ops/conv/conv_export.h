// The launchers of all convolutions, in one to three dimensions, from an algorithm's three sums: outputs, data gradient
// and weight gradient. The output of a transposed convolution is a data gradient.
//
//   struct Direct {
//     using Element = float;
//     static constexpr Computes COMPUTES{};
//     static int64_t forward_workspace(const ConvShape&);  // elements for each of the three sums
//     static int64_t data_workspace(const ConvShape&);
//     static int64_t weight_workspace(const ConvShape&);
//     static void forward(const ConvShape&, const Element* x, const Element* weight, Element* y,
//                         const ConvFinish<Element>&, Workspace);
//     static void data_gradient(const ConvShape&, const Element* dy, const Element* weight, Element* dx,
//                               const ConvFinish<Element>&, Workspace);
//     static void weight_gradient(const ConvShape&, const Element* dy, const Element* x, Element* dweight, Workspace);
//   };
//   GPUDL_CONV(conv2d, direct, Direct);  // exports conv2d_forward_direct and conv2d_backward_direct
//   GPUDL_CONV_TRANSPOSE(conv_transpose2d, direct, Direct);
#pragma once
#include <algorithm>

#include "core/export.h"
#include "ops/conv/conv.h"
#include "prim/column_sums.h"
#include "prim/elementwise.h"

namespace gpudl {

using Workspace = View<float, 1>;

constexpr int RELU = 1;  // number of an activation, as in gpudl/ops/conv/base.py

// The epilogue of a sum: sum + bias of its channel + residual at its place, then ReLU if requested. No other
// activation: exp and tanh in every unrolled store would take registers from the main loops.
template <class T>
struct ConvFinish {
  const T* bias = nullptr;
  const T* residual = nullptr;
  bool relu = false;

  GPUDL_DEVICE T operator()(float sum, int channel, int64_t at) const {
    if (bias != nullptr) sum += prim::as_float(bias[channel]);
    if (residual != nullptr) sum += prim::as_float(residual[at]);
    return prim::from_float<T>(relu && sum <= 0 ? 0.f : sum);  // NaN propagates
  }
};

template <class A, class T = typename A::Element>
void conv_forward(Volume<const T> x, Volume<const T> weight, Maybe<View<const T, 1>> bias,
                  Maybe<Volume<const T>> residual, Volume<T> y, Workspace workspace, Triple stride, Triple padding,
                  Triple dilation, int groups, int activation) {
  const ConvShape conv = conv_shape(x.dim, weight.dim, y.dim, stride, padding, dilation, groups);
  A::forward(conv, x.data, weight.data, y.data, {bias.data, residual.data, activation == RELU}, workspace);
}

// y is present if there is an activation. The workspace starts with the gradient before the activation, unless that is
// requested as dresidual.
template <class A, class T = typename A::Element>
void conv_backward(Volume<const T> dy, Volume<const T> x, Volume<const T> weight, Maybe<Volume<const T>> y,
                   Maybe<Volume<T>> dx, Maybe<Volume<T>> dweight, Maybe<View<T, 1>> dbias, Maybe<Volume<T>> dresidual,
                   Workspace workspace, Triple stride, Triple padding, Triple dilation, int groups, int) {
  const ConvShape conv = conv_shape(x.dim, weight.dim, dy.dim, stride, padding, dilation, groups);
  const T* dz = dy.data;
  if (y) {
    T* made = dresidual.data;
    if (made == nullptr) {
      const int64_t elements = ceil_div<int64_t>(dy.size() * sizeof(T), 16) * 4;  // keeps the rest aligned
      check(workspace.size() >= elements, "workspace", "is too small for the gradient before the activation");
      made = reinterpret_cast<T*>(workspace.data);
      workspace = {workspace.data + elements, {static_cast<int>(workspace.size() - elements)}};
    }
    dz = made;
    prim::column_sums(prim::PassSaved<T, prim::ReluGradient>{y.data, {}}, dy.data, made, conv.pixels(), conv.K,
                      dbias.data, workspace);
  } else if (dbias || dresidual) {
    prim::column_sums(prim::PassOn{}, dy.data, dresidual.data, conv.pixels(), conv.K, dbias.data, workspace);
  }
  if (dx) A::data_gradient(conv, dz, weight.data, dx.data, {}, workspace);
  if (dweight) A::weight_gradient(conv, dz, x.data, dweight.data, workspace);
}

// Transposed: y is the image of the convolution that the kernels compute, x its output.
template <class A, class T = typename A::Element>
void conv_transpose_forward(Volume<const T> x, Volume<const T> weight, Maybe<View<const T, 1>> bias, Volume<T> y,
                            Workspace workspace, Triple stride, Triple padding, Triple dilation, int groups) {
  const ConvShape conv = conv_shape(y.dim, weight.dim, x.dim, stride, padding, dilation, groups);
  A::data_gradient(conv, x.data, weight.data, y.data, {.bias = bias.data}, workspace);
}

template <class A, class T = typename A::Element>
void conv_transpose_backward(Volume<const T> dy, Volume<const T> x, Volume<const T> weight, Maybe<Volume<T>> dx,
                             Maybe<Volume<T>> dweight, Maybe<View<T, 1>> dbias, Workspace workspace, Triple stride,
                             Triple padding, Triple dilation, int groups) {
  const ConvShape conv = conv_shape(dy.dim, weight.dim, x.dim, stride, padding, dilation, groups);
  if (dx) A::forward(conv, dy.data, weight.data, dx.data, {}, workspace);
  if (dweight) A::weight_gradient(conv, x.data, dy.data, dweight.data, workspace);
  if (dbias) prim::column_sums(dy.data, int64_t{1} * conv.N * conv.image_pixels(), conv.C, dbias.data, workspace);
}

// -------------------------------------------------------------------------------- workspaces

template <class A, class T = typename A::Element>
int64_t conv_forward_workspace(Volume<const T> x, Volume<const T> weight, Volume<const T> y, Triple stride,
                               Triple padding, Triple dilation, int groups) {
  return A::forward_workspace(conv_shape(x.dim, weight.dim, y.dim, stride, padding, dilation, groups));
}

// For the gradients of the weights and of a bias, which has a value per channel of the outputs or of the image.
template <class A>
int64_t conv_sums_workspace(const ConvShape& conv) {
  const auto bias = [](int64_t channels, int64_t pixels) {
    return channels * std::clamp<int64_t>(ceil_div<int64_t>(pixels, 256), 1, 128);
  };
  return std::max({A::weight_workspace(conv), bias(conv.K, conv.pixels()),
                   bias(conv.C, int64_t{1} * conv.N * conv.image_pixels())});
}

template <class A, class T = typename A::Element>
int64_t conv_backward_workspace(Volume<const T> dy, Volume<const T> x, Volume<const T> weight, Triple stride,
                                Triple padding, Triple dilation, int groups, int activation) {
  const ConvShape conv = conv_shape(x.dim, weight.dim, dy.dim, stride, padding, dilation, groups);
  const int64_t before_activation = activation == RELU ? ceil_div<int64_t>(dy.size(), 4) * 4 : 0;
  return before_activation + std::max(A::data_workspace(conv), conv_sums_workspace<A>(conv));
}

template <class A, class T = typename A::Element>
int64_t conv_transpose_forward_workspace(Volume<const T> x, Volume<const T> weight, Volume<const T> y, Triple stride,
                                         Triple padding, Triple dilation, int groups) {
  return A::data_workspace(conv_shape(y.dim, weight.dim, x.dim, stride, padding, dilation, groups));
}

template <class A, class T = typename A::Element>
int64_t conv_transpose_backward_workspace(Volume<const T> dy, Volume<const T> x, Volume<const T> weight, Triple stride,
                                          Triple padding, Triple dilation, int groups) {
  const ConvShape conv = conv_shape(dy.dim, weight.dim, x.dim, stride, padding, dilation, groups);
  return std::max(A::forward_workspace(conv), conv_sums_workspace<A>(conv));
}

}  // namespace gpudl

#define GPUDL_CONV(op, algorithm, A)                                                                                 \
  constexpr auto& op##_forward_##algorithm = conv_forward<A>;                                                        \
  GPUDL_EXPORT(op, forward, algorithm, x, weight, bias, residual, y, workspace, stride, padding, dilation, groups,   \
               activation)                                                                                           \
      .computes(A::COMPUTES)                                                                                         \
      .workspace<conv_forward_workspace<A>>("x, weight, y, stride, padding, dilation, groups");                      \
  constexpr auto& op##_backward_##algorithm = conv_backward<A>;                                                      \
  GPUDL_EXPORT(op, backward, algorithm, dy, x, weight, y, dx, dweight, dbias, dresidual, workspace, stride, padding, \
               dilation, groups, activation)                                                                         \
      .computes(A::COMPUTES)                                                                                         \
      .workspace<conv_backward_workspace<A>>("dy, x, weight, stride, padding, dilation, groups, activation")

#define GPUDL_CONV_TRANSPOSE(op, algorithm, A)                                                                   \
  constexpr auto& op##_forward_##algorithm = conv_transpose_forward<A>;                                          \
  GPUDL_EXPORT(op, forward, algorithm, x, weight, bias, y, workspace, stride, padding, dilation, groups)         \
      .computes(A::COMPUTES)                                                                                     \
      .workspace<conv_transpose_forward_workspace<A>>("x, weight, y, stride, padding, dilation, groups");        \
  constexpr auto& op##_backward_##algorithm = conv_transpose_backward<A>;                                        \
  GPUDL_EXPORT(op, backward, algorithm, dy, x, weight, dx, dweight, dbias, workspace, stride, padding, dilation, \
               groups)                                                                                           \
      .computes(A::COMPUTES)                                                                                     \
      .workspace<conv_transpose_backward_workspace<A>>("dy, x, weight, stride, padding, dilation, groups")
