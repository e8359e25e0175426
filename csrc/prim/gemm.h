// General matrix products: c = epilogue(op(a) · op(b)), batched, each operand stored as it is or transposed, right for
// every size (k = 0 gives the epilogue of zeros), with 64-bit offsets.
//
//   prim::gemm_simt({.m = m, .n = n, .k = k,
//                    .a = {.data = x.data, .row_stride = k},                      // stored (m, k), rows k apart
//                    .b = {.data = w.data, .row_stride = k, .transposed = true},  // stored (n, k)
//                    .c = {.data = y.data, .row_stride = n},
//                    .epilogue = {.bias = bias.data, .activation = prim::Activation::relu},
//                    .workspace = workspace});
//
// Algorithms (the host functions at the end; they launch on the current stream): simt computes in float32 on CUDA
// cores, mma_tf32 and mma_tf32x3 on tensor cores from float32 operands, mma_bf16 and wgmma_bf16 from bfloat16 operands
// with float32 sums. Own epilogues: prim/gemm_simt.h is a template over them.
//
// Where c is small and k long, k is cut into pieces that run side by side: as many as the workspace holds m·n·batch
// float32 partial sums for (none without a workspace), added in a fixed order by a second kernel, so that the bits
// never change. gpudl/ops/matmul.py's gemm_workspace tells how much pays off.
#pragma once
#include <cstdint>
#include <type_traits>

#include "core/view.h"
#include "platform/bfloat16.h"
#include "platform/device.h"

namespace gpudl::prim {

// Row-major matrices in a stack: row r of matrix i starts at data + i*batch_stride + r*row_stride. transposed: it is
// the transpose of the operand that is stored. A batch_stride of 0 uses one matrix for all.
template <class T>
struct GemmMatrix {
  T* data = nullptr;
  int64_t row_stride = 0;
  int64_t batch_stride = 0;
  bool transposed = false;
};

enum class Activation : int { none, relu, sigmoid, tanh };

GPUDL_DEVICE float activate(Activation activation, float x) {
  switch (activation) {
    case Activation::relu: return x <= 0 ? 0.f : x;  // NaN passes
    case Activation::sigmoid: return 1.f / (1.f + expf(-x));
    case Activation::tanh: return tanhf(x);
    default: return x;
  }
}

template <class T>
GPUDL_DEVICE float as_float(T value) {
  if constexpr (std::is_same_v<T, bfloat16>) return device::to_float(value);
  else return value;
}
template <class T>
GPUDL_DEVICE T from_float(float value) {
  if constexpr (std::is_same_v<T, bfloat16>) return device::to_bfloat16(value);
  else return value;
}

// c = activation(sum + bias) + (accumulate ? c : 0). One bias per column, or per row.
template <class T>
struct GemmEpilogue {
  const T* bias = nullptr;
  bool bias_of_row = false;
  Activation activation = Activation::none;
  bool accumulate = false;

  GPUDL_DEVICE void operator()(float sum, int row, int column, T& c) const {
    if (bias != nullptr) sum += as_float(bias[bias_of_row ? row : column]);
    const float value = activate(activation, sum);
    c = from_float<T>(accumulate ? as_float(c) + value : value);
  }
};

// sum_batches: c is one matrix, the sum of the products of all batches; with batch > 1 the workspace must hold at least
// one partial sum for each.
template <class T, class Epilogue = GemmEpilogue<T>>
struct Gemm {
  int m = 0, n = 0, k = 0, batch = 1;
  GemmMatrix<const T> a{};
  GemmMatrix<const T> b{};
  GemmMatrix<T> c{};
  Epilogue epilogue{};
  bool sum_batches = false;
  View<float, 1> workspace{};
};

// simt chooses between small tiles and large ones, which simt_large always takes.
void gemm_simt(const Gemm<float>& gemm);
void gemm_simt_large(const Gemm<float>& gemm);
void gemm_mma_tf32(const Gemm<float>& gemm);
void gemm_mma_tf32x3(const Gemm<float>& gemm);
void gemm_mma_bf16(const Gemm<bfloat16>& gemm);
void gemm_wgmma_bf16(const Gemm<bfloat16>& gemm);

}  // namespace gpudl::prim
