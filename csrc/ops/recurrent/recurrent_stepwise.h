// Recurrent layers with a matrix product (prim/gemm/gemm.h) and an elementwise kernel per step, for batches and layers
// too large for recurrent_persistent.h; and the gradient of the weight, which both algorithms compute afterwards.
#pragma once
#include "core/check.h"
#include "ops/recurrent/recurrent.h"
#include "prim/column_sums.h"
#include "prim/gemm/gemm.h"

namespace gpudl::prim {

constexpr int RECURRENT_STEP_BLOCK = 256;

// Grid: one thread per unit and sample. product: (batch, GATES·hidden).
template <class Cell>
__global__ void __launch_bounds__(RECURRENT_STEP_BLOCK)
    recurrent_forward_step_kernel(Cell cell, RecurrentForward f, int t, const float* product) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * RECURRENT_STEP_BLOCK + threadIdx.x;
  const Sequence& s = f.sequence;
  if (index >= s.states()) return;
  const int n = static_cast<int>(index / s.hidden), unit = static_cast<int>(index % s.hidden);
  float mine[Cell::GATES];
  for (int g = 0; g < Cell::GATES; ++g) mine[g] = product[(int64_t{1} * n * Cell::GATES + g) * s.hidden + unit];
  recurrent_forward_unit(cell, f, t, n, unit, mine);
}

// Grid: the same. begin: the first step of the backward pass, whose state has the gradients of hn and cn.
template <class Cell>
__global__ void __launch_bounds__(RECURRENT_STEP_BLOCK)
    recurrent_backward_step_kernel(Cell cell, RecurrentBackward b, int t, bool begin) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * RECURRENT_STEP_BLOCK + threadIdx.x;
  const Sequence& s = b.sequence;
  if (index >= s.states()) return;
  const int n = static_cast<int>(index / s.hidden), unit = static_cast<int>(index % s.hidden);
  const float* dh = begin ? b.dhn : b.dh0;
  const float* dc = begin ? b.dcn : b.dc0;
  float dproduct[Cell::GATES];
  recurrent_backward_unit(cell, b, t, n, unit, dh == nullptr ? 0.f : dh[index],
                          dc == nullptr || b.cells == nullptr ? 0.f : dc[index], dproduct);
}

inline dim3 recurrent_step_grid(const Sequence& s) {
  return dim3(static_cast<unsigned>((s.states() + RECURRENT_STEP_BLOCK - 1) / RECURRENT_STEP_BLOCK));
}

template <class Cell>
void recurrent_forward_stepwise(const Cell& cell, const RecurrentForward& f, View<float, 1> workspace) {
  const Sequence& s = f.sequence;
  const int width = Cell::GATES * s.hidden;
  float* product = take_workspace(workspace, int64_t{1} * s.batch * width, "a step's products");
  for (int number = 0; number < s.steps; ++number) {
    gemm_simt({.m = s.batch,
               .n = width,
               .k = s.hidden,
               .a = {.data = number == 0 ? f.h0 : f.hn, .row_stride = s.hidden},
               .b = {.data = f.weight, .row_stride = s.hidden, .transposed = true},
               .c = {.data = product, .row_stride = width},
               .workspace = workspace});
    launch(recurrent_forward_step_kernel<Cell>, recurrent_step_grid(s), RECURRENT_STEP_BLOCK, 0, cell, f,
           s.step(number), product);
  }
}

template <class Cell>
void recurrent_backward_stepwise(const Cell& cell, const RecurrentBackward& b, View<float, 1> workspace) {
  const Sequence& s = b.sequence;
  const int width = Cell::GATES * s.hidden;
  for (int number = s.steps - 1; number >= 0; --number) {
    const int t = s.step(number);
    launch(recurrent_backward_step_kernel<Cell>, recurrent_step_grid(s), RECURRENT_STEP_BLOCK, 0, cell, b, t,
           number == s.steps - 1);
    gemm_simt({.m = s.batch,
               .n = s.hidden,
               .k = width,
               .a = {.data = b.dproduct + int64_t{1} * t * s.batch * width, .row_stride = width},
               .b = {.data = b.weight, .row_stride = s.hidden},
               .c = {.data = b.dh0, .row_stride = s.hidden},
               .epilogue = {.accumulate = true},
               .workspace = workspace});
  }
}

// dweight = sum over steps and samples of dproduct · previous state, dbias = sum of dproduct. The previous states are y
// shifted by one step, except for each sample's first step, which uses h0. Rows of y beyond a sample's length are zero.
inline void recurrent_weight_gradient(const RecurrentBackward& b, int gates, float* dweight, float* dbias,
                                      View<float, 1> workspace) {
  const Sequence& s = b.sequence;
  const int width = gates * s.hidden, rows = (s.steps - 1) * s.batch;
  const int64_t on = int64_t{1} * s.batch;  // rows per step
  const auto product = [&](const float* d, const float* states, int k, bool accumulate) {
    gemm_simt({.m = width,
               .n = s.hidden,
               .k = k,
               .a = {.data = d, .row_stride = width, .transposed = true},
               .b = {.data = states, .row_stride = s.hidden},
               .c = {.data = dweight, .row_stride = s.hidden},
               .epilogue = {.accumulate = accumulate},
               .workspace = workspace});
  };
  if (dweight != nullptr) {
    product(b.first, b.h0, s.batch, false);
    if (s.reverse) product(b.dproduct, b.y + on * s.hidden, rows, true);
    else product(b.dproduct + on * width, b.y, rows, true);
  }
  if (dbias != nullptr) column_sums<float>(b.dproduct, int64_t{1} * s.steps * s.batch, width, dbias, workspace);
}

}  // namespace gpudl::prim
