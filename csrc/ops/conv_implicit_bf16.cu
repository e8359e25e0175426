// Convolution as an implicit matrix product of bfloat16 operands on tensor cores, with float32 sums.
// sass: gemm_mma_kernel HMMA LDSM LDGSTS registers<=168
#include "prim/conv_implicit.h"
#include "prim/gemm_mma_half.h"

namespace gpudl {
namespace {

struct MmaBf16 {
  using Element = bfloat16;
  static void matrices(const prim::Gemm<bfloat16>& gemm) { prim::gemm_mma_bf16(gemm); }
  template <class G>
  static void operands(const G& gemm) {
    prim::gemm_mma_run<prim::Bf16>(gemm);
  }
  template <class G>
  static void weights(const G& gemm) {
    operands(gemm);
  }
};

using Bf16 = ImplicitGemm<MmaBf16>;
GPUDL_CONV(implicit_mma_bf16, Bf16);

}  // namespace
}  // namespace gpudl
