// linear: y = activation(x · weightᵀ + bias) and its gradients, by every algorithm of prim/gemm/gemm.h.
//
// sass: column_sums_kernel registers<=104
// sass: add_parts_kernel registers<=40
#include <algorithm>

#include "core/export.h"
#include "prim/column_sums.h"
#include "prim/gemm/gemm.h"

namespace gpudl {
namespace {

using prim::Activation;
using prim::Gemm;

template <class T>
using Algorithm = void (*)(const Gemm<T>&);
using Workspace = View<float, 1>;

template <class T, Algorithm<T> ALGORITHM>
void forward(Matrices<const T> x, View<const T, 2> weight, Maybe<View<const T, 1>> bias, Matrices<T> y,
             View<uint8_t, 2> mask, Workspace workspace, int activation, int tile_shape) {
  ALGORITHM({.m = x.dim[0] * x.dim[1],
             .n = weight.dim[0],
             .k = weight.dim[1],
             .a = {.data = x.data, .row_stride = weight.dim[1]},
             .b = {.data = weight.data, .row_stride = weight.dim[1], .transposed = true},
             .c = {.data = y.data, .row_stride = weight.dim[0]},
             .epilogue = {.bias = bias.data,
                          .activation = static_cast<Activation>(activation),
                          .mask = mask.size() > 0 ? mask.data : nullptr,
                          .mask_bytes = mask.dim[1]},
             .workspace = workspace,
             .tile_shape = tile_shape});
}

// The gradient before the activation, from dy and the activation's result.
struct ActivationGradient {
  Activation activation;

  GPUDL_DEVICE float operator()(float dy, float y) const {
    if (activation == Activation::relu) return y <= 0 ? 0.f : dy;
    return dy * (activation == Activation::sigmoid ? y * (1.f - y) : 1.f - y * y);
  }
};

// dx = dz · weight, dweight = dzᵀ · x, dbias = sum of dz's rows, where dz = dy · activation'. With an activation, the
// workspace starts with dz, and one pass over dy computes dz and its sums. Without one, the sums are a separate pass,
// after which the products find dy in the L2 cache if it fits; their main loops, which also read all of dy, have no
// registers left for sums.
template <class T, Algorithm<T> ALGORITHM>
void backward(Matrices<const T> dy, Matrices<const T> x, View<const T, 2> weight, Maybe<Matrices<const T>> y,
              Maybe<View<const uint8_t, 2>> mask, Maybe<Matrices<T>> dx, Maybe<View<T, 2>> dweight,
              Maybe<View<T, 1>> dbias, Workspace workspace, int activation, int tile_shape) {
  const int rows = x.dim[0] * x.dim[1], inputs = weight.dim[1], outputs = weight.dim[0];
  const T* dz = dy.data;
  T* made = nullptr;
  if (y || mask) {
    const int64_t elements = (int64_t{1} * rows * outputs * sizeof(T) + 15) / 16 * 4;  // keeps the rest aligned
    check(workspace.size() >= elements, "workspace", "is too small for the gradient before the activation");
    made = reinterpret_cast<T*>(workspace.data);
    dz = made;
    workspace = {workspace.data + elements, {static_cast<int>(workspace.size() - elements)}};
  }
  if (mask) prim::column_sums(prim::PassReluBits{mask.data}, dy.data, made, rows, outputs, dbias.data, workspace);
  else if (y)
    prim::column_sums(prim::PassSaved<T, ActivationGradient>{y.data, {static_cast<Activation>(activation)}}, dy.data,
                      made, rows, outputs, dbias.data, workspace);
  else if (dbias) prim::column_sums(dy.data, rows, outputs, dbias.data, workspace);
  if (dx)
    ALGORITHM({.m = rows,
               .n = inputs,
               .k = outputs,
               .a = {.data = dz, .row_stride = outputs},
               .b = {.data = weight.data, .row_stride = inputs},
               .c = {.data = dx.data, .row_stride = inputs},
               .workspace = workspace,
               .tile_shape = tile_shape});
  if (dweight)
    ALGORITHM({.m = outputs,
               .n = inputs,
               .k = rows,
               .a = {.data = dz, .row_stride = outputs, .transposed = true},
               .b = {.data = x.data, .row_stride = inputs},
               .c = {.data = dweight.data, .row_stride = inputs},
               .workspace = workspace,
               .tile_shape = tile_shape});
}

template <class T>
int64_t forward_workspace(Matrices<const T> x, View<const T, 2> weight) {
  return prim::gemm_workspace(int64_t{1} * x.dim[0] * x.dim[1], weight.dim[0], weight.dim[1]);
}

template <class T>
int64_t backward_workspace(Matrices<const T> x, View<const T, 2> weight, int activation) {
  const int64_t rows = int64_t{1} * x.dim[0] * x.dim[1], outputs = weight.dim[0], inputs = weight.dim[1];
  const bool none = static_cast<Activation>(activation) == Activation::none;
  const int64_t before_activation = none ? 0 : (rows * outputs + 3) / 4 * 4;
  return before_activation +
         std::max({prim::gemm_workspace(rows, inputs, outputs), prim::gemm_workspace(outputs, inputs, rows),
                   prim::column_sums_workspace(rows, outputs)});
}

#define GPUDL_LINEAR(op, algorithm, T)                                                                                 \
  constexpr auto& op##_forward_##algorithm = forward<T, prim::gemm_##algorithm>;                                       \
  GPUDL_EXPORT(op, forward, algorithm, x, weight, bias, y, mask, workspace, activation, tile_shape)                    \
      .computes(prim::computes::algorithm)                                                                             \
      .workspace<forward_workspace<T>>("x, weight");                                                                   \
  constexpr auto& op##_backward_##algorithm = backward<T, prim::gemm_##algorithm>;                                     \
  GPUDL_EXPORT(op, backward, algorithm, dy, x, weight, y, mask, dx, dweight, dbias, workspace, activation, tile_shape) \
      .computes(prim::computes::algorithm)                                                                             \
      .workspace<backward_workspace<T>>("x, weight, activation")

GPUDL_LINEAR(linear, simt, float);
GPUDL_LINEAR(linear, simt_large, float);
GPUDL_LINEAR(linear, mma_bf16x6, float);
GPUDL_LINEAR(linear, mma_tf32x3, float);
GPUDL_LINEAR(linear, mma_tf32, float);
GPUDL_LINEAR(linear, mma_bf16x1, float);
GPUDL_LINEAR(linear, mma_bf16, bfloat16);
GPUDL_LINEAR(linear, wgmma_bf16, bfloat16);
GPUDL_LINEAR(linear, wgmma_tf32, float);
GPUDL_LINEAR(linear, mma_f16, float16);
GPUDL_LINEAR(linear, wgmma_f16, float16);

}  // namespace
}  // namespace gpudl
