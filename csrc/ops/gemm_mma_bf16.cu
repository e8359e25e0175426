// Matrix products of bfloat16 operands on tensor cores, with the usual epilogue.
// sass: gemm_mma_kernel HMMA LDSM LDGSTS registers<=128
// sass: gemm_sum_kernel registers<=64
#include "prim/gemm_mma_bf16.h"

namespace gpudl::prim {

void gemm_mma_bf16(const Gemm<bfloat16>& gemm) { gemm_mma_with<Bf16>(gemm); }

}  // namespace gpudl::prim
