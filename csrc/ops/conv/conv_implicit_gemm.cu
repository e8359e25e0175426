// Convolution as an implicit matrix product in float32: on CUDA cores, and on tensor cores by split products.
// sass: gemm_simt_kernel FFMA registers<=128
// sass: gemm_mma_kernel HMMA LDGSTS registers<=168
#include "ops/conv/conv_implicit.h"
#include "prim/gemm/gemm_mma_tf32.h"
#include "prim/gemm/gemm_simt.h"

namespace gpudl {
namespace {

struct Simt {
  using Element = float;
  static constexpr Computes COMPUTES = prim::computes::simt;
  static void matrices(const prim::Gemm<float>& gemm) { prim::gemm_simt(gemm); }
  template <class G>
  static void operands(const G& gemm) {
    prim::gemm_simt_run(gemm);
  }
  // Finding pixels needs registers, and the largest tile has none left.
  template <class G>
  static void weights(const G& gemm) {
    using Tile = prim::SimtTile<128, 64, 16, 8, 4>;
    const bool busy = gemm.m > 64 && gemm.n > 32;
    busy ? prim::gemm_simt_tiled<Tile>(gemm) : prim::gemm_simt_tiled<prim::SimtTileSmall>(gemm);
  }
};

// Short sums are more accurate on CUDA cores.
struct MmaTf32x3 {
  using Element = float;
  static constexpr Computes COMPUTES = prim::computes::mma_tf32x3;
  static void matrices(const prim::Gemm<float>& gemm) { prim::gemm_mma_tf32x3(gemm); }
  template <class G>
  static void operands(const G& gemm) {
    gemm.k < prim::TF32X3_FEWEST ? prim::gemm_simt_run(gemm) : prim::gemm_mma_run<prim::Tf32x3>(gemm);
  }
  template <class G>
  static void weights(const G& gemm) {
    gemm.k < prim::TF32X3_FEWEST ? Simt::weights(gemm) : prim::gemm_mma_run<prim::Tf32x3>(gemm);
  }
};

using Plain = ImplicitGemm<Simt>;
using Split = ImplicitGemm<MmaTf32x3>;
GPUDL_CONV(conv1d, implicit_gemm, Plain);
GPUDL_CONV(conv2d, implicit_gemm, Plain);
GPUDL_CONV(conv3d, implicit_gemm, Plain);
GPUDL_CONV_TRANSPOSE(conv_transpose1d, implicit_gemm, Plain);
GPUDL_CONV_TRANSPOSE(conv_transpose2d, implicit_gemm, Plain);
GPUDL_CONV_TRANSPOSE(conv_transpose3d, implicit_gemm, Plain);
GPUDL_CONV(conv1d, implicit_mma_tf32x3, Split);
GPUDL_CONV(conv2d, implicit_mma_tf32x3, Split);
GPUDL_CONV(conv3d, implicit_mma_tf32x3, Split);
GPUDL_CONV_TRANSPOSE(conv_transpose1d, implicit_mma_tf32x3, Split);
GPUDL_CONV_TRANSPOSE(conv_transpose2d, implicit_mma_tf32x3, Split);
GPUDL_CONV_TRANSPOSE(conv_transpose3d, implicit_mma_tf32x3, Split);

}  // namespace
}  // namespace gpudl
