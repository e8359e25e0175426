// Matrix products of float32 operands in TF32 by TMA and wgmma, with the usual epilogue.
// sass: gemm_wgmma_kernel HGMMA@90a UTMALDG@90a !HMMA@90a registers<=168 moved=168
#include "prim/gemm/gemm_wgmma.h"

namespace gpudl::prim {

// The tensor cores ignore the low 13 bits of operands: they truncate. Orders that wgmma cannot take in TF32, rows that
// start elsewhere than at multiples of 16 bytes, and empty arrays take the other algorithm.
void gemm_wgmma_tf32(const Gemm<float>& gemm) { gemm_wgmma_fits(gemm) ? gemm_wgmma_with(gemm) : gemm_mma_tf32(gemm); }

}  // namespace gpudl::prim
