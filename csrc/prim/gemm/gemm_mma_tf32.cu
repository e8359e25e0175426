// Matrix products of float32 operands on tensor cores in TF32, with the standard epilogue.
// sass: gemm_mma_kernel HMMA LDGSTS registers<=168
#include "prim/gemm/gemm_mma_tf32.h"

namespace gpudl::prim {

using Large = MmaTile<128, 128, 16, 64, 32, 2>;
using Split = MmaTile<128, 64, 16, 32, 32>;
using SplitSmall = MmaTile<64, 64, 16, 32, 32, 3>;
using Small = MmaTile<64, 64, 16, 32, 32, 4>;

void gemm_mma_tf32(const Gemm<float>& gemm) { gemm_mma_with<Tf32Products<Large>, Tf32Products<Small>>(gemm); }

void gemm_mma_tf32x3(const Gemm<float>& gemm) {
  gemm.k < TF32X3_FEWEST ? gemm_simt(gemm) : gemm_mma_with<Tf32x3Products<Split>, Tf32x3Products<SplitSmall>>(gemm);
}

}  // namespace gpudl::prim
