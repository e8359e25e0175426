// Matrix products of float32 operands on tensor cores in bfloat16: split into three parts, or rounded; with the
// standard epilogue.
// sass: gemm_mma_kernel HMMA LDGSTS registers<=168
#include "prim/gemm/gemm_mma_split.h"

namespace gpudl::prim {

template <int PARTS>
using Large = SplitProducts<PARTS, MmaTile<128, 64, 16, 32, 32, PARTS == 1 ? 2 : 1>>;
template <int PARTS>
using Small = SplitProducts<PARTS, MmaTile<64, 64, 16, 32, 32, PARTS == 1 ? 4 : 3>>;

void gemm_mma_bf16x6(const Gemm<float>& gemm) {
  gemm.k < BF16X6_FEWEST ? gemm_simt(gemm) : gemm_mma_with<Large<3>, Small<3>>(gemm);
}

void gemm_mma_bf16x1(const Gemm<float>& gemm) { gemm_mma_with<Large<1>, Small<1>>(gemm); }

}  // namespace gpudl::prim
