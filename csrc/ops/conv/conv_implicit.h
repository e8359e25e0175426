// Convolution as a matrix product that reads its operands from the image (ops/conv/conv_operand.h), by any main loop of
// prim/gemm/gemm.h. A window of one tap with stride 1 and no padding is a plain product of matrices.
//
//   struct Main {
//     using Element = T;
//     static constexpr Computes COMPUTES{…};
//     static void matrices(const prim::Gemm<T>&);            // the plain product
//     template <class G> static void operands(const G&);     // of any operands, with the usual epilogue
//     template <class G> static void weights(const G&);      // of a weight gradient's operands
//   };
#pragma once
#include "ops/conv/conv_export.h"
#include "ops/conv/conv_operand.h"

namespace gpudl {

// Room for the pieces of k that pay off: a sweep gets no more than that, although other products of the same call may
// need a larger workspace.
inline Workspace pieces_of(Workspace all, int m, int n, int k, int batch) {
  const int64_t outputs = int64_t{1} * m * n * batch;
  const int64_t tiles = int64_t{1} * batch * ceil_div(m, 64) * ceil_div(n, 64);
  const int64_t pieces = tiles == 0 ? 1 : std::min<int64_t>(k / 256, 128 / tiles);
  return {all.data, {static_cast<int>(pieces <= 1 ? 0 : std::min(all.size(), pieces * outputs))}};
}

// The workspaces of all implicit matrix products.
struct ImplicitWorkspace {
  static int64_t forward_workspace(const ConvShape& conv) {
    return prim::gemm_workspace(conv.pixels(), conv.group_k(), conv.filter_size(), conv.groups);
  }
  static int64_t data_workspace(const ConvShape& conv) {
    const int64_t pixels = int64_t{1} * conv.N * conv.image_pixels();
    return prim::gemm_workspace(pixels, conv.group_c(), int64_t{1} * conv.taps() * conv.group_k(), conv.groups);
  }
  static int64_t weight_workspace(const ConvShape& conv) {
    return prim::gemm_workspace(conv.group_k(), conv.filter_size(), conv.pixels(), conv.groups);
  }
};

template <class Main>
struct ImplicitGemm : ImplicitWorkspace {
  using Element = typename Main::Element;
  static constexpr Computes COMPUTES = Main::COMPUTES;
  using T = Element;
  using Epilogue = prim::GemmEpilogue<T>;

  static void forward(const ConvShape& conv, const T* x, const T* weight, T* y, const ConvFinish<T>& finish,
                      Workspace workspace) {
    const int pixels = static_cast<int>(conv.pixels());
    const prim::GemmMatrix<const T> filters{weight, conv.filter_size(),
                                            int64_t{1} * conv.group_k() * conv.filter_size(), true};
    if (is_pointwise(conv))
      return Main::matrices({.m = pixels,
                             .n = conv.group_k(),
                             .k = conv.group_c(),
                             .batch = conv.groups,
                             .a = {x, conv.C, conv.group_c()},
                             .b = filters,
                             .c = {y, conv.K, conv.group_k()},
                             .epilogue = epilogue(finish, conv.group_k()),
                             .workspace = pieces_of(workspace, pixels, conv.group_k(), conv.group_c(), conv.groups)});
    const prim::GemmStrided<T, true> weights{filters, conv.group_k()};
    product(forward_sweep(conv), x, weights, y, finish, workspace);
  }

  static void data_gradient(const ConvShape& conv, const T* dy, const T* weight, T* dx, const ConvFinish<T>& finish,
                            Workspace workspace) {
    const int pixels = static_cast<int>(conv.pixels());
    if (is_pointwise(conv))
      return Main::matrices({.m = pixels,
                             .n = conv.group_c(),
                             .k = conv.group_k(),
                             .batch = conv.groups,
                             .a = {dy, conv.K, conv.group_k()},
                             .b = {weight, conv.group_c(), int64_t{1} * conv.group_k() * conv.group_c()},
                             .c = {dx, conv.C, conv.group_c()},
                             .epilogue = epilogue(finish, conv.group_c()),
                             .workspace = pieces_of(workspace, pixels, conv.group_c(), conv.group_k(), conv.groups)});
    each_gradient_sweep(conv, [&](const Sweep& sweep) {
      product(sweep, dy, prim::GradientWeights<T>(weight, sweep), dx, finish, workspace);
    });
  }

  // With few weights and many pixels, the pixels are split into as many pieces as the workspace holds copies of the
  // weights' gradient; a second kernel adds them in order.
  static void weight_gradient(const ConvShape& conv, const T* dy, const T* x, T* dweight, Workspace workspace) {
    const prim::GemmMatrix<const T> outputs{dy, conv.K, conv.group_k(), true};
    const prim::GemmMatrix<T> gradient{dweight, conv.filter_size(), int64_t{1} * conv.group_k() * conv.filter_size()};
    const int pixels = static_cast<int>(conv.pixels());
    const Workspace pieces = pieces_of(workspace, conv.group_k(), conv.filter_size(), pixels, conv.groups);
    if (is_pointwise(conv))
      return Main::matrices({.m = conv.group_k(),
                             .n = conv.group_c(),
                             .k = pixels,
                             .batch = conv.groups,
                             .a = outputs,
                             .b = {x, conv.C, conv.group_c()},
                             .c = gradient,
                             .workspace = pieces});
    using Columns = prim::PixelColumns<T>;
    Main::weights(prim::Gemm<T, Epilogue, prim::GemmStrided<T, false>, Columns>{.m = conv.group_k(),
                                                                                .n = conv.filter_size(),
                                                                                .k = pixels,
                                                                                .batch = conv.groups,
                                                                                .a = {outputs, conv.group_k()},
                                                                                .b = Columns(x, conv),
                                                                                .c = gradient,
                                                                                .workspace = pieces});
  }

  static Epilogue epilogue(const ConvFinish<T>& finish, int channels) {
    Epilogue e;
    e.bias = finish.bias;
    e.bias_batch_stride = channels;
    e.residual = finish.residual;
    if (finish.relu) e.activation = prim::Activation::relu;
    return e;
  }

 private:
  template <class Weights>
  static void product(const Sweep& sweep, const T* from, const Weights& weights, T* to, const ConvFinish<T>& finish,
                      Workspace workspace) {
    using Columns = prim::SweepColumns<T>;
    using Results = prim::SweepResults<T>;
    const int m = sweep.N * sweep.results(), k = sweep.depth();
    Main::operands(prim::Gemm<T, Epilogue, Columns, Weights, Results>{
        .m = m,
        .n = sweep.to_c,
        .k = k,
        .batch = sweep.groups,
        .a = Columns(from, sweep),
        .b = weights,
        .c = Results(to, sweep),
        .epilogue = epilogue(finish, sweep.to_c),
        .workspace = pieces_of(workspace, m, sweep.to_c, k, sweep.groups)});
  }
};

}  // namespace gpudl
