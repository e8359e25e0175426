// Matrix products of float32 operands in TF32 by TMA and wgmma, with the standard epilogue.
// sass: gemm_wgmma_kernel HGMMA@90a UTMALDG@90a !HMMA@90a registers<=168 moved=168
#include "prim/gemm/gemm_wgmma.h"

namespace gpudl::prim {

// The tensor cores ignore the low 13 bits of operands, that is, they truncate. Memory orders that wgmma does not
// support for TF32, rows that are not aligned to 16 bytes and empty arrays fall back to the other algorithm.
void gemm_wgmma_tf32(const Gemm<float>& gemm) { gemm_wgmma_fits(gemm) ? gemm_wgmma_with(gemm) : gemm_mma_tf32(gemm); }

}  // namespace gpudl::prim
