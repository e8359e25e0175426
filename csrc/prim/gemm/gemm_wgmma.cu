// Matrix products of bfloat16 and float16 operands by TMA and wgmma, with the standard epilogue.
// sass: gemm_wgmma_kernel HGMMA@90a UTMALDG@90a !HMMA@90a registers<=168 moved=168
#include "prim/gemm/gemm_wgmma.h"

namespace gpudl::prim {

// Python chooses this algorithm only if strides allow it. Unaligned and empty arrays fall back to the other algorithm
// for their type.
void gemm_wgmma_bf16(const Gemm<bfloat16>& gemm) {
  gemm_wgmma_fits(gemm) ? gemm_wgmma_with(gemm) : gemm_mma_bf16(gemm);
}
void gemm_wgmma_f16(const Gemm<float16>& gemm) { gemm_wgmma_fits(gemm) ? gemm_wgmma_with(gemm) : gemm_mma_f16(gemm); }

}  // namespace gpudl::prim
