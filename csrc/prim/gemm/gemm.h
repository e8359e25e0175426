// General matrix products: c = epilogue(op(a) · op(b)), batched, each operand stored plain or transposed, correct for
// every size (k = 0 gives the epilogue of zeros) and alignment, with 64-bit offsets.
//
//   prim::gemm_simt({.m = m, .n = n, .k = k,
//                    .a = {.data = x.data, .row_stride = k},                      // stored (m, k), rows k apart
//                    .b = {.data = w.data, .row_stride = k, .transposed = true},  // stored (n, k)
//                    .c = {.data = y.data, .row_stride = n},
//                    .epilogue = {.bias = bias.data, .activation = prim::Activation::relu},
//                    .workspace = workspace});
//
// A family: main loops × operands × epilogues × results.
//
// - Main loops, each a header with a host function that takes any of the rest: prim/gemm/gemm_simt.h (float32 on CUDA
//   cores), prim/gemm/gemm_mma.h (mma.sync; a policy defines the products), prim/gemm/gemm_wgmma.h (TMA and wgmma).
// - An operand finds 16 bytes of neighbouring elements. The image of an implicit convolution is an operand just like a
//   matrix in memory. Interface: prim/gemm/gemm_operand.h.
// - An epilogue turns four neighbouring sums into elements of c. Interface: prim/gemm/gemm_epilogue.h.
// - The result places the rows of c: `T* data`, `int64_t offset(int batch, int row) const` (GPUDL_DEVICE), and on the
//   host `bool aligned() const`: whether every fourth column starts at a multiple of four elements.
//
// The host functions at the end of this file run the main loops with matrices and the standard epilogue, on the current
// stream. For other combinations call a main loop's own function with a Gemm of other types, as implicit convolution
// does (ops/conv/conv_operand.h).
//
// If c is small and k long, k is split into pieces that run in parallel: as many as the workspace holds m·n·batch
// float32 partial sums for (none without a workspace). A second kernel adds them in a fixed order, so that the bits
// never change. prim/gemm/gemm_pieces.h computes the size that pays off.
#pragma once
#include <cstdint>

#include "core/computes.h"
#include "core/view.h"
#include "platform/device.h"
#include "prim/gemm/gemm_epilogue.h"
#include "prim/gemm/gemm_pieces.h"

namespace gpudl::prim {

// A stack of row-major matrices: row r of matrix i starts at data + i*batch_stride + r*row_stride. transposed: the
// stored matrix is the operand's transpose. A batch_stride of 0 uses one matrix for all batches.
template <class T>
struct GemmMatrix {
  T* data = nullptr;
  int64_t row_stride = 0;
  int64_t batch_stride = 0;
  bool transposed = false;

  GPUDL_DEVICE int64_t offset(int batch, int row) const { return batch * batch_stride + row * row_stride; }
  bool aligned() const {
    return reinterpret_cast<uintptr_t>(data) % (4 * sizeof(T)) == 0 && row_stride % 4 == 0 && batch_stride % 4 == 0;
  }
};

// sum_batches: c is one matrix, the sum over batches; with batch > 1 the workspace must hold at least one partial sum
// per batch. tile_shape: number of the main loop's tile shape; 0 lets it choose.
template <class T, class Epilogue = GemmEpilogue<T>, class A = GemmMatrix<const T>, class B = GemmMatrix<const T>,
          class C = GemmMatrix<T>>
struct Gemm {
  int m = 0, n = 0, k = 0, batch = 1;
  A a{};
  B b{};
  C c{};
  Epilogue epilogue{};
  bool sum_batches = false;
  View<float, 1> workspace{};
  int tile_shape = 0;
};

// simt chooses between small and large tiles; simt_large always uses large ones. tf32x3 and bf16x6 are as accurate as
// simt; tf32 and bf16x1 round float32 operands.
void gemm_simt(const Gemm<float>& gemm);
void gemm_simt_large(const Gemm<float>& gemm);
void gemm_mma_tf32(const Gemm<float>& gemm);
void gemm_mma_tf32x3(const Gemm<float>& gemm);
void gemm_mma_bf16x1(const Gemm<float>& gemm);
void gemm_mma_bf16x6(const Gemm<float>& gemm);
void gemm_mma_bf16(const Gemm<bfloat16>& gemm);
void gemm_mma_f16(const Gemm<float16>& gemm);
void gemm_wgmma_bf16(const Gemm<bfloat16>& gemm);
void gemm_wgmma_f16(const Gemm<float16>& gemm);
void gemm_wgmma_tf32(const Gemm<float>& gemm);

// With fewer terms a float32 loop is more accurate than split products (docs/precision.md).
constexpr int TF32X3_FEWEST = 96, BF16X6_FEWEST = 32;

// What these functions compute with, for the launchers that call them.
namespace computes {
constexpr Computes simt{};
constexpr Computes simt_large{};
constexpr Computes mma_tf32{Numbers::tf32, Unit::mma};
constexpr Computes mma_tf32x3{Numbers::tf32, Unit::mma, 3, TF32X3_FEWEST};
constexpr Computes mma_bf16x1{Numbers::bfloat16, Unit::mma};
constexpr Computes mma_bf16x6{Numbers::bfloat16, Unit::mma, 6, BF16X6_FEWEST};
constexpr Computes mma_bf16{Numbers::bfloat16, Unit::mma};
constexpr Computes mma_f16{Numbers::float16, Unit::mma};
constexpr Computes wgmma_bf16{Numbers::bfloat16, Unit::wgmma};
constexpr Computes wgmma_f16{Numbers::float16, Unit::wgmma};
constexpr Computes wgmma_tf32{Numbers::tf32, Unit::wgmma};
}  // namespace computes

}  // namespace gpudl::prim
