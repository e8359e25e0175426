// Matrix products in float32 on CUDA cores, with the standard epilogue.
// sass: gemm_simt_kernel FFMA registers<=128
// sass: gemm_sum_kernel registers<=64
#include "prim/gemm/gemm_simt.h"

namespace gpudl::prim {

void gemm_simt(const Gemm<float>& gemm) { gemm_simt_with(gemm); }
void gemm_simt_large(const Gemm<float>& gemm) {
  with_strided(gemm, [](const auto& g) { gemm_simt_tiled<SimtTileLarge>(g); });
}

}  // namespace gpudl::prim
