// Convolution as an implicit matrix product of float32 operands on tensor cores, rounded to TF32.
// sass: gemm_mma_kernel HMMA LDGSTS registers<=168
#include "ops/conv/conv_implicit.h"
#include "prim/gemm/gemm_mma_tf32.h"

namespace gpudl {
namespace {

struct MmaTf32 {
  using Element = float;
  static constexpr Computes COMPUTES = prim::computes::mma_tf32;
  static void matrices(const prim::Gemm<float>& gemm) { prim::gemm_mma_tf32(gemm); }
  template <class G>
  static void operands(const G& gemm) {
    prim::gemm_mma_run<prim::Tf32>(gemm);
  }
  template <class G>
  static void weights(const G& gemm) {
    operands(gemm);
  }
};

using Tf32 = ImplicitGemm<MmaTf32>;
GPUDL_CONV(conv1d, implicit_mma_tf32, Tf32);
GPUDL_CONV(conv2d, implicit_mma_tf32, Tf32);
GPUDL_CONV(conv3d, implicit_mma_tf32, Tf32);
GPUDL_CONV_TRANSPOSE(conv_transpose1d, implicit_mma_tf32, Tf32);
GPUDL_CONV_TRANSPOSE(conv_transpose2d, implicit_mma_tf32, Tf32);
GPUDL_CONV_TRANSPOSE(conv_transpose3d, implicit_mma_tf32, Tf32);

}  // namespace
}  // namespace gpudl
