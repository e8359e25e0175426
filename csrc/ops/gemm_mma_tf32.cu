// Matrix products of float32 operands on tensor cores, with the usual epilogue.
// sass: gemm_mma_kernel HMMA LDGSTS registers<=128
#include "prim/gemm_mma_tf32.h"

namespace gpudl::prim {

void gemm_mma_tf32(const Gemm<float>& gemm) { gemm_mma_with<Tf32>(gemm); }

// With few summands a float32 loop errs less than split products, with terms of random sign up to about 40 of them
// (tests/ops/test_matmul_precision.py prints both errors).
void gemm_mma_tf32x3(const Gemm<float>& gemm) {
  constexpr int FEW = 64;
  gemm.k < FEW ? gemm_simt(gemm) : gemm_mma_with<Tf32x3>(gemm);
}

}  // namespace gpudl::prim
