// Convolution as an implicit matrix product of bfloat16 operands on Hopper: TMA finds the image's pixels and wgmma
// multiplies them (ops/conv/conv_wgmma.h). The rest runs on mma.sync: data gradients with a stride, which have more
// sweeps than one map can describe; weight gradients whose channels do not fill stages; unaligned arrays.
// sass: gemm_wgmma_kernel HGMMA@90a UTMALDG@90a !HMMA@90a registers<=168
#include "ops/conv/conv_implicit.h"
#include "ops/conv/conv_wgmma.h"
#include "prim/gemm/gemm_mma_half.h"

namespace gpudl {
namespace {

// Windows of one tap are plain products.
struct Main {
  using Element = bfloat16;
  static constexpr Computes COMPUTES = prim::computes::mma_bf16;
  static void matrices(const prim::Gemm<bfloat16>& gemm) { prim::gemm_wgmma_bf16(gemm); }
  template <class G>
  static void operands(const G& gemm) {
    prim::gemm_mma_run<prim::Half<bfloat16>>(gemm);
  }
  template <class G>
  static void weights(const G& gemm) {
    prim::gemm_mma_run<prim::Half<bfloat16>>(gemm);
  }
};

struct Wgmma : ImplicitWorkspace {
  using Element = bfloat16;
  static constexpr Computes COMPUTES = prim::computes::wgmma_bf16;
  using T = bfloat16;
  using Otherwise = ImplicitGemm<Main>;
  using Epilogue = prim::GemmEpilogue<T>;
  using Matrix = prim::GemmMatrix<T>;
  template <class A, class B>
  using Product = prim::Gemm<T, Epilogue, A, B, Matrix>;

  static bool fits(const ConvShape& conv, const prim::SlidingWindows& windows, const T* image, const T* weight) {
    return !is_pointwise(conv) && prim::fits_wgmma(conv, windows) && prim::starts_aligned(image) &&
           prim::starts_aligned(weight);
  }
  static int padded(int channels) { return ceil_div(channels, prim::WGMMA_DEPTH<T>) * prim::WGMMA_DEPTH<T>; }

  static void forward(const ConvShape& conv, const T* x, const T* weight, T* y, const ConvFinish<T>& finish,
                      Workspace workspace) {
    using A = prim::WgmmaPixels<T, true>;
    using B = prim::WgmmaFilters<T, true>;
    const prim::SlidingWindows windows = prim::forward_windows(conv);
    if (!fits(conv, windows, x, weight)) return Otherwise::forward(conv, x, weight, y, finish, workspace);
    const int m = static_cast<int>(conv.pixels()), k = conv.taps() * padded(conv.C);
    prim::wgmma_tiled<T>([&]<class Tile>(const Tile*) {
      return Product<A, B>{.m = m,
                           .n = conv.K,
                           .k = k,
                           .a = A(x, windows, Tile::BM),
                           .b = B(weight, conv, Tile::B_PART),
                           .c = {y, conv.K},
                           .epilogue = Otherwise::epilogue(finish, conv.K),
                           .workspace = pieces_of(workspace, m, conv.K, k, 1)};
    });
  }

  static void data_gradient(const ConvShape& conv, const T* dy, const T* weight, T* dx, const ConvFinish<T>& finish,
                            Workspace workspace) {
    using A = prim::WgmmaPixels<T, true>;
    using B = prim::WgmmaFilters<T, false>;
    const prim::SlidingWindows windows = prim::gradient_windows(conv);
    const bool dense = conv.h.stride == 1 && conv.w.stride == 1;
    if (!dense || !fits(conv, windows, dy, weight))
      return Otherwise::data_gradient(conv, dy, weight, dx, finish, workspace);
    const int m = conv.N * conv.image_pixels(), k = conv.taps() * padded(conv.K);
    prim::wgmma_tiled<T>([&]<class Tile>(const Tile*) {
      return Product<A, B>{.m = m,
                           .n = conv.C,
                           .k = k,
                           .a = A(dy, windows, Tile::BM),
                           .b = B(weight, conv, Tile::B_PART),
                           .c = {dx, conv.C},
                           .epilogue = Otherwise::epilogue(finish, conv.C),
                           .workspace = pieces_of(workspace, m, conv.C, k, 1)};
    });
  }

  static void weight_gradient(const ConvShape& conv, const T* dy, const T* x, T* dweight, Workspace workspace) {
    using A = prim::WgmmaMatrix<T, false>;
    using B = prim::WgmmaPixels<T, false>;
    const prim::SlidingWindows windows = prim::forward_windows(conv);
    const bool fills = conv.C % prim::WGMMA_DEPTH<T> == 0;
    if (!fills || !fits(conv, windows, x, dy)) return Otherwise::weight_gradient(conv, dy, x, dweight, workspace);
    const int n = conv.filter_size(), k = static_cast<int>(conv.pixels());
    const prim::GemmStrided<T, false> outputs{{dy, conv.K, 0, true}, conv.K};
    prim::wgmma_tiled<T>([&]<class Tile>(const Tile*) {
      return Product<A, B>{.m = conv.K,
                           .n = n,
                           .k = k,
                           .a = prim::wgmma_operand<Tile::BM>(outputs, k, 1),
                           .b = B(x, windows, 64),
                           .c = {dweight, n},
                           .workspace = pieces_of(workspace, conv.K, n, k, 1)};
    });
  }
};

GPUDL_CONV(conv1d, implicit_wgmma_bf16, Wgmma);
GPUDL_CONV(conv2d, implicit_wgmma_bf16, Wgmma);
GPUDL_CONV(conv3d, implicit_wgmma_bf16, Wgmma);
GPUDL_CONV_TRANSPOSE(conv_transpose1d, implicit_wgmma_bf16, Wgmma);
GPUDL_CONV_TRANSPOSE(conv_transpose2d, implicit_wgmma_bf16, Wgmma);
GPUDL_CONV_TRANSPOSE(conv_transpose3d, implicit_wgmma_bf16, Wgmma);

}  // namespace
}  // namespace gpudl
