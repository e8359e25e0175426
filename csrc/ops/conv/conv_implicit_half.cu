// Convolution as an implicit matrix product of bfloat16 or float16 operands on tensor cores, with float32 sums.
// sass: gemm_mma_kernel HMMA LDSM LDGSTS registers<=168
#include "ops/conv/conv_implicit.h"
#include "prim/gemm/gemm_mma_half.h"

namespace gpudl {
namespace {

template <class T, void (*MATRICES)(const prim::Gemm<T>&), const Computes& COMPUTED>
struct MmaHalf {
  using Element = T;
  static constexpr Computes COMPUTES = COMPUTED;
  static void matrices(const prim::Gemm<T>& gemm) { MATRICES(gemm); }
  template <class G>
  static void operands(const G& gemm) {
    prim::gemm_mma_run<prim::Half<T>>(gemm);
  }
  template <class G>
  static void weights(const G& gemm) {
    operands(gemm);
  }
};

using Bf16 = ImplicitGemm<MmaHalf<bfloat16, prim::gemm_mma_bf16, prim::computes::mma_bf16>>;
using F16 = ImplicitGemm<MmaHalf<float16, prim::gemm_mma_f16, prim::computes::mma_f16>>;
GPUDL_CONV(conv1d, implicit_mma_bf16, Bf16);
GPUDL_CONV(conv2d, implicit_mma_bf16, Bf16);
GPUDL_CONV(conv3d, implicit_mma_bf16, Bf16);
GPUDL_CONV_TRANSPOSE(conv_transpose1d, implicit_mma_bf16, Bf16);
GPUDL_CONV_TRANSPOSE(conv_transpose2d, implicit_mma_bf16, Bf16);
GPUDL_CONV_TRANSPOSE(conv_transpose3d, implicit_mma_bf16, Bf16);
GPUDL_CONV(conv1d, implicit_mma_f16, F16);
GPUDL_CONV(conv2d, implicit_mma_f16, F16);
GPUDL_CONV(conv3d, implicit_mma_f16, F16);
GPUDL_CONV_TRANSPOSE(conv_transpose1d, implicit_mma_f16, F16);
GPUDL_CONV_TRANSPOSE(conv_transpose2d, implicit_mma_f16, F16);
GPUDL_CONV_TRANSPOSE(conv_transpose3d, implicit_mma_f16, F16);

}  // namespace
}  // namespace gpudl
