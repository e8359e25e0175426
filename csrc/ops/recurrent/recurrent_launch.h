// Shared by the launchers of the recurrent operators.
#pragma once
#include <algorithm>

#include "core/export.h"
#include "ops/recurrent/recurrent_persistent.h"
#include "ops/recurrent/recurrent_stepwise.h"

namespace gpudl::prim {

using Steps = View<const float, 3>;  // (T, N, …)
using MaybeSteps = Maybe<View<const float, 3>>;
using Lengths = Maybe<View<const int64_t, 1>>;
using Workspace = View<float, 1>;

inline Sequence sequence_of(const Steps& x, const View<const float, 2>& weight, const Lengths& lengths, bool reverse) {
  return {x.dim[0], x.dim[1], weight.dim[1], reverse, lengths.data};
}

struct Persistent {
  static int64_t forward_workspace(int64_t, int64_t, int64_t) { return padded_part(1); }
  // Two buffers, each with a part from every block to every other.
  static int64_t backward_workspace(int64_t batch, int64_t, int64_t hidden, int64_t weight) {
    const int64_t blocks = std::min<int64_t>(hidden, RECURRENT_MOST_BLOCKS);
    return padded_part(1) + padded_part(2 * blocks * batch * (hidden + (hidden + blocks - 1) / blocks)) + weight;
  }
  template <class Cell>
  static void forward(const Cell& cell, const RecurrentForward& f, Workspace workspace) {
    recurrent_forward_persistent(cell, f, workspace);
  }
  template <class Cell>
  static void backward(const Cell& cell, const RecurrentBackward& b, Workspace workspace) {
    recurrent_backward_persistent(cell, b, workspace);
  }
};

struct Stepwise {
  static int64_t forward_workspace(int64_t batch, int64_t width, int64_t hidden) {
    return padded_part(batch * width) + gemm_workspace(batch, width, hidden);
  }
  static int64_t backward_workspace(int64_t batch, int64_t width, int64_t hidden, int64_t weight) {
    return std::max(weight, gemm_workspace(batch, hidden, width));
  }
  template <class Cell>
  static void forward(const Cell& cell, const RecurrentForward& f, Workspace workspace) {
    recurrent_forward_stepwise(cell, f, workspace);
  }
  template <class Cell>
  static void backward(const Cell& cell, const RecurrentBackward& b, Workspace workspace) {
    recurrent_backward_stepwise(cell, b, workspace);
  }
};

template <class Algorithm>
int64_t recurrent_forward_workspace(Steps x, View<const float, 2> weight) {
  return Algorithm::forward_workspace(x.dim[1], weight.dim[0], weight.dim[1]);
}

// Everything that recurrent_backward takes, including the algorithm and the matrix product of the weight's gradient.
template <class Algorithm, class Cell, int STATES>
int64_t recurrent_backward_workspace(Steps y, View<const float, 2> weight) {
  const int64_t steps = y.dim[0], batch = y.dim[1], width = weight.dim[0], hidden = weight.dim[1];
  int64_t kept = STATES * padded_part(batch * hidden) + padded_part(batch * width);
  if (Cell::SEPARATE) kept += padded_part(steps * batch * width);
  const int64_t product = gemm_workspace(width, hidden, (steps - 1) * batch);
  return kept + Algorithm::backward_workspace(batch, width, hidden, product);
}

// dh0, dc0 and first are taken from the workspace if null; so is dproduct if the cell needs it.
template <class Algorithm, class Cell>
void recurrent_backward(const Cell& cell, RecurrentBackward b, float* dweight, float* dbias, Workspace workspace) {
  const Sequence& s = b.sequence;
  const int64_t width = int64_t{1} * Cell::GATES * s.hidden;
  if (b.dh0 == nullptr) b.dh0 = take_workspace(workspace, s.states(), "the gradient of h0");
  if (b.cells != nullptr && b.dc0 == nullptr) b.dc0 = take_workspace(workspace, s.states(), "the gradient of c0");
  b.first = take_workspace(workspace, s.batch * width, "gradients of the first steps");
  b.dproduct = b.dx;
  if (Cell::SEPARATE) b.dproduct = take_workspace(workspace, s.steps * s.batch * width, "gradients of the products");
  Algorithm::backward(cell, b, workspace);
  recurrent_weight_gradient(b, Cell::GATES, dweight, dbias, workspace);
}

}  // namespace gpudl::prim
