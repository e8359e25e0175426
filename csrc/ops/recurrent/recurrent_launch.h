// What the launchers of the recurrent operators share.
#pragma once
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
  template <class Cell>
  static void forward(const Cell& cell, const RecurrentForward& f, Workspace workspace) {
    recurrent_forward_stepwise(cell, f, workspace);
  }
  template <class Cell>
  static void backward(const Cell& cell, const RecurrentBackward& b, Workspace workspace) {
    recurrent_backward_stepwise(cell, b, workspace);
  }
};

// dh0, dc0 and first are filled in from the workspace where they are null; dproduct, where the cell needs it.
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
