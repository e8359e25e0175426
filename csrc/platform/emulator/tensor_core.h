// ldmatrix and mma.sync with the fragment layouts of the PTX manual ("Warp-level matrix instructions").
#pragma once
#include <cstdint>

#include "platform/bfloat16.h"
#include "platform/emulator/error.h"

namespace gpudl::emulator {

void load_matrices(uint32_t* fragment, int count, bool transposed, uint32_t row_address, const Site& site);
void mma_bf16(float* d, const uint32_t* a, const uint32_t* b, const Site& site);
void mma_f16(float* d, const uint32_t* a, const uint32_t* b, const Site& site);
void mma_tf32(float* d, const uint32_t* a, const uint32_t* b, const Site& site);

}  // namespace gpudl::emulator

namespace gpudl::device {

using emulator::Site;

// 8x8 matrices of 16-bit elements. Lanes 8i to 8i+7 pass the addresses of the rows of matrix i. Then lane l holds the
// elements [l/4][l%4*2] and [l/4][l%4*2 + 1] of each matrix, or with _trans of its transpose.
inline void ldmatrix_x4(uint32_t (&fragment)[4], uint32_t row_address, Site site = Site::here("ldmatrix_x4")) {
  emulator::load_matrices(fragment, 4, false, row_address, site);
}
inline void ldmatrix_x4_trans(uint32_t (&fragment)[4], uint32_t row_address,
                              Site site = Site::here("ldmatrix_x4_trans")) {
  emulator::load_matrices(fragment, 4, true, row_address, site);
}
inline void ldmatrix_x2(uint32_t (&fragment)[2], uint32_t row_address, Site site = Site::here("ldmatrix_x2")) {
  emulator::load_matrices(fragment, 2, false, row_address, site);
}
inline void ldmatrix_x2_trans(uint32_t (&fragment)[2], uint32_t row_address,
                              Site site = Site::here("ldmatrix_x2_trans")) {
  emulator::load_matrices(fragment, 2, true, row_address, site);
}

// d[16,8] += a[16,16] * b[16,8]
inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                              Site site = Site::here("mma_m16n8k16_bf16")) {
  emulator::mma_bf16(d, a, b, site);
}
// The same for float16.
inline void mma_m16n8k16_f16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             Site site = Site::here("mma_m16n8k16_f16")) {
  emulator::mma_f16(d, a, b, site);
}
// d[16,8] += a[16,8] * b[8,8]; the low 13 bits of the operands are ignored
inline void mma_m16n8k8_tf32(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                             Site site = Site::here("mma_m16n8k8_tf32")) {
  emulator::mma_tf32(d, a, b, site);
}

}  // namespace gpudl::device
