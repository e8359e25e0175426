// matmul: y = op(a) · op(b) over stacks of matrices and its gradients, by every algorithm of prim/gemm/gemm.h.
#include <algorithm>

#include "core/export.h"
#include "prim/gemm/gemm.h"

namespace gpudl {
namespace {

using prim::Gemm;
using prim::GemmMatrix;

template <class T>
using Algorithm = void (*)(const Gemm<T>&);
using Workspace = View<float, 1>;

// A stack of one matrix serves every batch of the other operand.
template <class T>
GemmMatrix<T> matrix(const Matrices<T>& x, bool transposed) {
  const int64_t size = int64_t{1} * x.dim[1] * x.dim[2];
  return {x.data, x.dim[2], x.dim[0] == 1 ? 0 : size, transposed};
}

template <class T>
GemmMatrix<const T> operand(const Matrices<T>& x, bool transposed) {
  const GemmMatrix<T> m = matrix(x, transposed);
  return {m.data, m.row_stride, m.batch_stride, transposed};
}

// c = a · b with the batch of the larger stack; if c has a batch of one, the sum over the batch.
template <class T>
void product(Algorithm<T> algorithm, const Matrices<const T>& a, bool transpose_a, const Matrices<const T>& b,
             bool transpose_b, const Matrices<T>& c, Workspace workspace, int tile_shape) {
  Gemm<T> gemm{.m = c.dim[1],
               .n = c.dim[2],
               .k = a.dim[transpose_a ? 1 : 2],
               .batch = a.dim[0] == 1 ? b.dim[0] : a.dim[0],
               .a = operand(a, transpose_a),
               .b = operand(b, transpose_b),
               .c = matrix(c, false),
               .epilogue = {},
               .sum_batches = c.dim[0] == 1,
               .workspace = workspace,
               .tile_shape = tile_shape};
  if (gemm.batch == 0 && gemm.sum_batches) {  // a sum over no batches
    gemm.batch = 1;
    gemm.k = 0;
  }
  algorithm(gemm);
}

// The rows of all matrices of a stack as one matrix.
template <class T>
Matrices<T> folded(Matrices<T> x) {
  return {{x.data, {1, x.dim[0] * x.dim[1], x.dim[2]}}};
}
// The result as a stack of (m, n), including axes that a vector operand removes.
template <class T, class Operand>
Matrices<T> result(Matrices<T> y, const Operand& a, bool transpose_a, const Operand& b, bool transpose_b) {
  const int batch = a.dim[0] == 1 ? b.dim[0] : a.dim[0];
  return {{y.data, {batch, a.dim[transpose_a ? 2 : 1], b.dim[transpose_b ? 1 : 2]}}};
}

// Whether one b serves a whole stack, so that one product computes all rows.
template <class T>
bool folds(const Matrices<T>& a, bool transpose_a, const Matrices<T>& b) {
  return !transpose_a && b.dim[0] == 1 && a.dim[0] != 1;
}

template <class T, Algorithm<T> ALGORITHM>
void forward(Matrices<const T> a, Matrices<const T> b, Matrices<T> y, Workspace workspace, bool transpose_a,
             bool transpose_b, int tile_shape) {
  y = result(y, a, transpose_a, b, transpose_b);
  if (folds(a, transpose_a, b)) a = folded(a), y = folded(y);
  product(ALGORITHM, a, transpose_a, b, transpose_b, y, workspace, tile_shape);
}

// da = dy · op(b)ᵀ and db = op(a)ᵀ · dy, or their transposes if the operand is stored transposed.
template <class T, Algorithm<T> ALGORITHM>
void backward(Matrices<const T> dy, Matrices<const T> a, Matrices<const T> b, Maybe<Matrices<T>> da,
              Maybe<Matrices<T>> db, Workspace workspace, bool transpose_a, bool transpose_b, int tile_shape) {
  dy = result(dy, a, transpose_a, b, transpose_b);
  if (folds(a, transpose_a, b)) {
    a = folded(a), dy = folded(dy);
    if (da) da = {folded<T>(da)};
  }
  if (da) {
    if (transpose_a) product<T>(ALGORITHM, b, transpose_b, dy, true, da, workspace, tile_shape);
    else product<T>(ALGORITHM, dy, false, b, !transpose_b, da, workspace, tile_shape);
  }
  if (db) {
    if (transpose_b) product<T>(ALGORITHM, dy, true, a, transpose_a, db, workspace, tile_shape);
    else product<T>(ALGORITHM, a, !transpose_a, dy, false, db, workspace, tile_shape);
  }
}

struct Extents {
  int64_t batch, m, n, k;
};

// Extents of the forward product.
template <class T>
Extents extents(const Matrices<const T>& a, bool transpose_a, const Matrices<const T>& b, bool transpose_b) {
  const int64_t batch = a.dim[0] == 1 ? b.dim[0] : a.dim[0];
  const int64_t m = a.dim[transpose_a ? 2 : 1], n = b.dim[transpose_b ? 1 : 2], k = a.dim[transpose_a ? 1 : 2];
  if (b.dim[0] == 1 && !transpose_a) return {1, batch * m, n, k};
  return {batch, m, n, k};
}

template <class T>
int64_t forward_workspace(Matrices<const T> a, Matrices<const T> b, bool transpose_a, bool transpose_b) {
  const auto [batch, m, n, k] = extents(a, transpose_a, b, transpose_b);
  return prim::gemm_workspace(m, n, k, batch);
}

template <class T>
int64_t backward_workspace(Matrices<const T> a, Matrices<const T> b, bool transpose_a, bool transpose_b) {
  const auto [batch, m, n, k] = extents(a, transpose_a, b, transpose_b);
  return std::max(prim::gemm_workspace(m, k, n, batch, a.dim[0] == 1),
                  prim::gemm_workspace(k, n, m, batch, b.dim[0] == 1));
}

#define GPUDL_MATMUL(op, algorithm, T)                                                                     \
  constexpr auto& op##_forward_##algorithm = forward<T, prim::gemm_##algorithm>;                           \
  GPUDL_EXPORT(op, forward, algorithm, a, b, y, workspace, transpose_a, transpose_b, tile_shape)           \
      .computes(prim::computes::algorithm)                                                                 \
      .workspace<forward_workspace<T>>("a, b, transpose_a, transpose_b");                                  \
  constexpr auto& op##_backward_##algorithm = backward<T, prim::gemm_##algorithm>;                         \
  GPUDL_EXPORT(op, backward, algorithm, dy, a, b, da, db, workspace, transpose_a, transpose_b, tile_shape) \
      .computes(prim::computes::algorithm)                                                                 \
      .workspace<backward_workspace<T>>("a, b, transpose_a, transpose_b")

GPUDL_MATMUL(matmul, simt, float);
GPUDL_MATMUL(matmul, simt_large, float);
GPUDL_MATMUL(matmul, mma_bf16x6, float);
GPUDL_MATMUL(matmul, mma_tf32x3, float);
GPUDL_MATMUL(matmul, mma_tf32, float);
GPUDL_MATMUL(matmul, mma_bf16x1, float);
GPUDL_MATMUL(matmul, mma_bf16, bfloat16);
GPUDL_MATMUL(matmul, wgmma_bf16, bfloat16);
GPUDL_MATMUL(matmul, wgmma_tf32, float);
GPUDL_MATMUL(matmul, mma_f16, float16);
GPUDL_MATMUL(matmul, wgmma_f16, float16);

}  // namespace
}  // namespace gpudl
