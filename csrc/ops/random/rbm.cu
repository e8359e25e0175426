// Restricted Boltzmann machines: a half-step of Gibbs sampling is one matrix product whose epilogue draws the samples;
// the gradient of contrastive divergence is two products, the second added to the first, and column sums.
// sass: gemm_simt_kernel FFMA registers<=128
// sass: gemm_mma_kernel HMMA LDGSTS registers<=168
// sass: mean_difference_kernel registers<=32
#include "core/check.h"
#include "core/export.h"
#include "ops/random/random.h"
#include "prim/gemm/gemm_mma_tf32.h"
#include "prim/gemm/gemm_simt.h"

namespace gpudl {
namespace {

using prim::Gemm;
using prim::GemmEpilogue;
using prim::GemmMatrix;
using prim::GemmQuad;
using prim::GemmStrided;
using Matrix = View<const float, 2>;
using MatrixOut = View<float, 2>;
using Workspace = View<float, 1>;

// mean = sigmoid(sum + bias), sample = 1 where the element's uniform number is below mean, else 0; or, if GAUSSIAN,
// mean = sum + bias, sample = mean + the element's normal number. c is the mean. Elements are numbered by their offset
// in c, which is dense; a number costs a quarter of a Philox block if the columns are a multiple of four.
template <bool GAUSSIAN>
struct Sampling {
  const float* bias;
  float* sample;
  const int64_t* counter;

  bool aligned() const { return reinterpret_cast<uintptr_t>(sample) % 16 == 0; }

  GPUDL_DEVICE void numbers(float (&number)[4], int64_t block) const {
    const Words words = random_words(counter, block);
    if constexpr (GAUSSIAN) {
      const float2 first = normals_from(words.word[0], words.word[1]);
      const float2 second = normals_from(words.word[2], words.word[3]);
      number[0] = first.x;
      number[1] = first.y;
      number[2] = second.x;
      number[3] = second.y;
    } else {
#pragma unroll
      for (int i = 0; i < 4; ++i) number[i] = uniform_from(words.word[i]);
    }
  }
  // The numbers of four elements from any offset on.
  GPUDL_DEVICE void numbers_at(float (&number)[4], int64_t offset) const {
    numbers(number, offset / 4);
    const int shift = static_cast<int>(offset % 4);
    if (shift == 0) return;
    float next[4];
    numbers(next, offset / 4 + 1);
    for (int step = 0; step < shift; ++step) {
#pragma unroll
      for (int i = 0; i < 3; ++i) number[i] = number[i + 1];
      number[3] = next[0];
#pragma unroll
      for (int i = 0; i < 3; ++i) next[i] = next[i + 1];
    }
  }

  GPUDL_DEVICE void operator()(const float (&sum)[4], const GemmQuad& quad, float* c, int64_t offset,
                               bool aligned) const {
    if (quad.count <= 0) return;
    float mean[4], drawn[4], number[4];
    numbers_at(number, offset);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float z = sum[i] + (bias != nullptr && i < quad.count ? bias[quad.column + i] : 0.f);
      mean[i] = GAUSSIAN ? z : prim::activate(prim::Activation::sigmoid, z);
      drawn[i] = GAUSSIAN ? mean[i] + number[i] : (number[i] < mean[i] ? 1.f : 0.f);
    }
    prim::store_four(c + offset, mean, quad.count, aligned);
    prim::store_four(sample + offset, drawn, quad.count, aligned);
  }
};

struct Simt {
  template <class G>
  static void run(const G& g) {
    prim::gemm_simt_run(g);
  }
};
template <class Policy>
struct Mma {
  template <class G>
  static void run(const G& g) {
    prim::gemm_mma_run<Policy>(g);
  }
};
// Short sums are more accurate on CUDA cores.
struct Split {
  template <class G>
  static void run(const G& g) {
    g.k < prim::TF32X3_FEWEST ? prim::gemm_simt_run(g) : prim::gemm_mma_run<prim::Tf32x3>(g);
  }
};

template <class Algorithm, bool GAUSSIAN, bool TRANSPOSE>
void half_step(Matrix x, Matrix weight, Maybe<View<const float, 1>> bias, View<const int64_t, 1> counter,
               MatrixOut mean, MatrixOut sample, Workspace workspace) {
  using A = GemmStrided<float, true>;
  using B = GemmStrided<float, !TRANSPOSE>;
  Gemm<float, Sampling<GAUSSIAN>, A, B> gemm{.m = x.dim[0], .n = mean.dim[1], .k = x.dim[1]};
  gemm.a = {{.data = x.data, .row_stride = x.dim[1]}, x.dim[0]};
  gemm.b = {{.data = weight.data, .row_stride = weight.dim[1], .transposed = !TRANSPOSE}, mean.dim[1]};
  gemm.c = {.data = mean.data, .row_stride = mean.dim[1]};
  gemm.epilogue = {bias.data, sample.data, counter.data};
  gemm.workspace = workspace;
  Algorithm::run(gemm);
}

template <class Algorithm>
void gibbs(Matrix x, Matrix weight, Maybe<View<const float, 1>> bias, View<const int64_t, 1> counter, MatrixOut mean,
           MatrixOut sample, Workspace workspace, bool transpose, bool gaussian) {
  check(weight.dim[transpose ? 0 : 1] == x.dim[1] && weight.dim[transpose ? 1 : 0] == mean.dim[1], "weight",
        "does not fit x and mean");
  check(counter.dim[0] == 3, "counter", "must have three elements: seed, stream, offset");
  if (gaussian)
    transpose ? half_step<Algorithm, true, true>(x, weight, bias, counter, mean, sample, workspace)
              : half_step<Algorithm, true, false>(x, weight, bias, counter, mean, sample, workspace);
  else
    transpose ? half_step<Algorithm, false, true>(x, weight, bias, counter, mean, sample, workspace)
              : half_step<Algorithm, false, false>(x, weight, bias, counter, mean, sample, workspace);
}

constexpr int WIDTH = 32, HEIGHT = 16;  // columns per block, rows that it reads at once

// y[n] = mean over rows of xk[m,n] - mean over rows of x0[m,n]. Grid: one block per WIDTH columns. Block: WIDTH x
// HEIGHT threads; each adds every HEIGHT-th row in order, then a fixed tree combines them, so the bits never change.
__global__ void __launch_bounds__(WIDTH* HEIGHT)
    mean_difference_kernel(const float* x0, int rows0, const float* xk, int rowsk, int columns, float* y) {
  GPUDL_SHARED(float, partial, [HEIGHT][WIDTH]);
  const int tx = threadIdx.x % WIDTH, ty = threadIdx.x / WIDTH;
  const int column = static_cast<int>(blockIdx.x) * WIDTH + tx;
  float sum0 = 0, sumk = 0;
  if (column < columns) {
    for (int row = ty; row < rows0; row += HEIGHT) sum0 += x0[static_cast<int64_t>(row) * columns + column];
    for (int row = ty; row < rowsk; row += HEIGHT) sumk += xk[static_cast<int64_t>(row) * columns + column];
  }
  partial[ty][tx] = sumk / static_cast<float>(rowsk) - sum0 / static_cast<float>(rows0);
  __syncthreads();
#pragma unroll
  for (int half = HEIGHT / 2; half > 0; half /= 2) {
    if (ty < half) partial[ty][tx] += partial[ty + half][tx];
    __syncthreads();
  }
  if (ty == 0 && column < columns) y[column] = partial[0][tx];
}

void mean_difference(Matrix x0, Matrix xk, View<float, 1> y) {
  const int columns = x0.dim[1];
  launch(mean_difference_kernel, dim3(static_cast<unsigned>((columns + WIDTH - 1) / WIDTH)), WIDTH * HEIGHT, 0, x0.data,
         x0.dim[0], xk.data, xk.dim[0], columns, y.data);
}

// dweight = hᵀ·v·scale, or dweight += it if `add`.
template <class Algorithm>
void statistics(Matrix h, Matrix v, MatrixOut dweight, Workspace workspace, float sign, bool add) {
  using Operand = GemmStrided<float, false>;
  Gemm<float, GemmEpilogue<float>, Operand, Operand> gemm{.m = h.dim[1], .n = v.dim[1], .k = h.dim[0]};
  gemm.a = {{.data = h.data, .row_stride = h.dim[1], .transposed = true}, h.dim[1]};
  gemm.b = {{.data = v.data, .row_stride = v.dim[1]}, v.dim[1]};
  gemm.c = {.data = dweight.data, .row_stride = v.dim[1]};
  gemm.epilogue.alpha = sign / static_cast<float>(h.dim[0]);
  gemm.epilogue.accumulate = add;
  gemm.workspace = workspace;
  Algorithm::run(gemm);
}

template <class Algorithm>
void divergence(Matrix v0, Matrix h0, Matrix vk, Matrix hk, MatrixOut dweight, View<float, 1> dvisible,
                View<float, 1> dhidden, Workspace workspace) {
  statistics<Algorithm>(hk, vk, dweight, workspace, 1, false);
  statistics<Algorithm>(h0, v0, dweight, workspace, -1, true);
  mean_difference(v0, vk, dvisible);
  mean_difference(h0, hk, dhidden);
}

int64_t gibbs_workspace(Matrix x, Matrix mean) { return prim::gemm_workspace(mean.dim[0], mean.dim[1], x.dim[1]); }

int64_t divergence_workspace(Matrix v0, Matrix h0, Matrix vk) {
  const auto product = [&](const Matrix& v) { return prim::gemm_workspace(h0.dim[1], v0.dim[1], v.dim[0]); };
  return std::max(product(v0), product(vk));
}

#define GPUDL_GIBBS(op, algorithm, Algorithm)                                                                  \
  constexpr auto& op##_forward_##algorithm = gibbs<Algorithm>;                                                 \
  GPUDL_EXPORT(op, forward, algorithm, x, weight, bias, counter, mean, sample, workspace, transpose, gaussian) \
      .computes(prim::computes::algorithm)                                                                     \
      .workspace<gibbs_workspace>("x, mean")

#define GPUDL_DIVERGENCE(op, algorithm, Algorithm)                                            \
  constexpr auto& op##_forward_##algorithm = divergence<Algorithm>;                           \
  GPUDL_EXPORT(op, forward, algorithm, v0, h0, vk, hk, dweight, dvisible, dhidden, workspace) \
      .computes(prim::computes::algorithm)                                                    \
      .workspace<divergence_workspace>("v0, h0, vk")

GPUDL_GIBBS(gibbs_half_step, simt, Simt);
GPUDL_GIBBS(gibbs_half_step, mma_tf32x3, Split);
GPUDL_GIBBS(gibbs_half_step, mma_tf32, Mma<prim::Tf32>);
GPUDL_DIVERGENCE(contrastive_divergence, simt, Simt);
GPUDL_DIVERGENCE(contrastive_divergence, mma_tf32x3, Split);
GPUDL_DIVERGENCE(contrastive_divergence, mma_tf32, Mma<prim::Tf32>);

}  // namespace
}  // namespace gpudl
