// linear: y = activation(x · weightᵀ + bias), and its gradients, by every algorithm of prim/gemm.h.
#include "core/export.h"
#include "prim/column_sum.h"
#include "prim/elementwise.h"
#include "prim/gemm.h"

namespace gpudl {
namespace {

using prim::Activation;
using prim::Gemm;

template <class T>
using Algorithm = void (*)(const Gemm<T>&);
using Workspace = View<float, 1>;

template <class T>
void forward(Algorithm<T> algorithm, Matrices<const T> x, View<const T, 2> weight, Maybe<View<const T, 1>> bias,
             Matrices<T> y, Workspace workspace, int activation, int tile_shape) {
  algorithm({.m = x.dim[0] * x.dim[1],
             .n = weight.dim[0],
             .k = weight.dim[1],
             .a = {.data = x.data, .row_stride = weight.dim[1]},
             .b = {.data = weight.data, .row_stride = weight.dim[1], .transposed = true},
             .c = {.data = y.data, .row_stride = weight.dim[0]},
             .epilogue = {.bias = bias.data, .activation = static_cast<Activation>(activation)},
             .workspace = workspace,
             .tile_shape = tile_shape});
}

// The gradient before the activation, from the one after it and the activation's result.
template <class T>
struct ActivationGradient {
  Activation activation;

  GPUDL_DEVICE T operator()(T dy_element, T y_element) const {
    const float dy = prim::as_float(dy_element), y = prim::as_float(y_element);
    if (activation == Activation::relu) return prim::from_float<T>(y <= 0 ? 0.f : dy);
    return prim::from_float<T>(dy * (activation == Activation::sigmoid ? y * (1.f - y) : 1.f - y * y));
  }
};

// dx = dz · weight, dweight = dzᵀ · x, dbias = sum of dz's rows, where dz = dy · activation'. The workspace holds dz
// first, if there is an activation.
template <class T>
void backward(Algorithm<T> algorithm, Matrices<const T> dy, Matrices<const T> x, View<const T, 2> weight,
              Maybe<Matrices<const T>> y, Maybe<Matrices<T>> dx, Maybe<View<T, 2>> dweight, Maybe<View<T, 1>> dbias,
              Workspace workspace, int activation, int tile_shape) {
  const int rows = x.dim[0] * x.dim[1], inputs = weight.dim[1], outputs = weight.dim[0];
  const T* dz = dy.data;
  if (y) {
    const int elements = rows * outputs;
    check(workspace.dim[0] >= elements, "workspace", "is too small for the gradient before the activation");
    T* made = reinterpret_cast<T*>(workspace.data);
    prim::map(ActivationGradient<T>{static_cast<Activation>(activation)}, prim::Flat<T>{made, {elements}},
              prim::Flat<const T>{dy.data, {elements}}, prim::Flat<const T>{y.data, {elements}});
    dz = made;
    workspace = {workspace.data + elements, {workspace.dim[0] - elements}};
  }
  if (dx)
    algorithm({.m = rows,
               .n = inputs,
               .k = outputs,
               .a = {.data = dz, .row_stride = outputs},
               .b = {.data = weight.data, .row_stride = inputs},
               .c = {.data = dx.data, .row_stride = inputs},
               .workspace = workspace,
               .tile_shape = tile_shape});
  if (dweight)
    algorithm({.m = outputs,
               .n = inputs,
               .k = rows,
               .a = {.data = dz, .row_stride = outputs, .transposed = true},
               .b = {.data = x.data, .row_stride = inputs},
               .c = {.data = dweight.data, .row_stride = inputs},
               .workspace = workspace,
               .tile_shape = tile_shape});
  if (dbias) prim::column_sum(dz, rows, outputs, dbias.data);
}

#define LINEAR(algorithm, T)                                                                                       \
  void linear_forward_##algorithm(Matrices<const T> x, View<const T, 2> weight, Maybe<View<const T, 1>> bias,      \
                                  Matrices<T> y, Workspace workspace, int activation, int tile_shape) {            \
    forward<T>(prim::gemm_##algorithm, x, weight, bias, y, workspace, activation, tile_shape);                     \
  }                                                                                                                \
  GPUDL_EXPORT(linear_forward_##algorithm, x, weight, bias, y, workspace, activation, tile_shape);                 \
  void linear_backward_##algorithm(Matrices<const T> dy, Matrices<const T> x, View<const T, 2> weight,             \
                                   Maybe<Matrices<const T>> y, Maybe<Matrices<T>> dx, Maybe<View<T, 2>> dweight,   \
                                   Maybe<View<T, 1>> dbias, Workspace workspace, int activation, int tile_shape) { \
    backward<T>(prim::gemm_##algorithm, dy, x, weight, y, dx, dweight, dbias, workspace, activation, tile_shape);  \
  }                                                                                                                \
  GPUDL_EXPORT(linear_backward_##algorithm, dy, x, weight, y, dx, dweight, dbias, workspace, activation, tile_shape)

LINEAR(simt, float);
LINEAR(simt_large, float);
LINEAR(mma_bf16x6, float);
LINEAR(mma_tf32x3, float);
LINEAR(mma_tf32, float);
LINEAR(mma_bf16x1, float);
LINEAR(mma_bf16, bfloat16);
LINEAR(wgmma_bf16, bfloat16);
LINEAR(wgmma_tf32, float);
LINEAR(mma_f16, float16);
LINEAR(wgmma_f16, float16);

}  // namespace
}  // namespace gpudl
