// Matrix products of bfloat16 and float16 operands on tensor cores, with the standard epilogue.
// sass: gemm_mma_kernel HMMA LDSM LDGSTS registers<=128
// sass: gemm_sum_kernel registers<=64
#include "prim/gemm/gemm_mma_half.h"

namespace gpudl::prim {

template <class T>
using Large = HalfProducts<T, MmaTile<128, 128, 32, 64, 32, 2>>;
template <class T>
using Small = HalfProducts<T, MmaTile<64, 64, 32, 32, 32, 4>>;

void gemm_mma_bf16(const Gemm<bfloat16>& gemm) { gemm_mma_with<Large<bfloat16>, Small<bfloat16>>(gemm); }
void gemm_mma_f16(const Gemm<float16>& gemm) { gemm_mma_with<Large<float16>, Small<float16>>(gemm); }

}  // namespace gpudl::prim
