// Recurrent layers over a whole sequence: one step of one hidden unit of one sample, forward and backward. The two
// algorithms, recurrent_stepwise.h and recurrent_persistent.h, compute the products of states and weights.
//
// A Cell has GATES (rows of x and the weight per unit), SAVED (numbers that a unit saves for backward), SEPARATE
// (whether the product's gradient differs from x's), forward() and backward().
#pragma once
#include <cstdint>
#include <string>

#include "core/check.h"
#include "core/view.h"
#include "platform/device.h"

namespace gpudl::prim {

// Extents and steps: sample n has the steps t < lengths[n], without lengths all. reverse: from last to first.
struct Sequence {
  int steps = 0, batch = 0, hidden = 0;
  bool reverse = false;
  const int64_t* lengths = nullptr;

  GPUDL_HD int64_t states() const { return int64_t{1} * batch * hidden; }
  GPUDL_HD int step(int number) const { return reverse ? steps - 1 - number : number; }
  GPUDL_DEVICE int length(int n) const {
    return lengths == nullptr ? steps : static_cast<int>(lengths[n] < steps ? lengths[n] : steps);
  }
  GPUDL_DEVICE int first(int n) const { return reverse ? max(length(n) - 1, 0) : 0; }
  GPUDL_DEVICE int64_t at(int t, int n, int unit) const { return (int64_t{1} * t * batch + n) * hidden + unit; }
  // The state before step t of sample n, from the array of all states or that of the initial ones.
  GPUDL_DEVICE float before(const float* states, const float* start, int t, int n, int unit) const {
    return t == first(n) ? start[int64_t{1} * n * hidden + unit] : states[at(reverse ? t + 1 : t - 1, n, unit)];
  }
};

// bias, c0, cn, gates and cells are null if the cell has none. hn and cn always hold the current state.
struct RecurrentForward {
  Sequence sequence;
  const float *x, *weight, *bias, *h0, *c0;
  float *y, *hn, *cn, *gates, *cells;
};

// dh0 and dc0 always hold the gradient of the current state. dproduct is dx unless the cell is SEPARATE; first is
// dproduct of each sample's first step, (batch, GATES·hidden). Absent gradients of outputs are null.
struct RecurrentBackward {
  Sequence sequence;
  const float *dy, *dhn, *dcn, *weight, *h0, *c0, *y, *gates, *cells;
  float *dx, *dproduct, *first, *dh0, *dc0;
};

struct RecurrentState {
  float h = 0, c = 0;
};

GPUDL_DEVICE float recurrent_sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

struct RnnCell {
  static constexpr int GATES = 1, SAVED = 0;
  static constexpr bool SEPARATE = false;
  int nonlinearity = 0;  // tanh, relu

  GPUDL_DEVICE RecurrentState forward(const float* x, const float* product, RecurrentState, float*) const {
    const float z = x[0] + product[0];
    return {nonlinearity == 0 ? tanhf(z) : z <= 0 ? 0.f : z};
  }
  // d: gradients of the new state. Returns those of the old state except for the part through the product.
  GPUDL_DEVICE RecurrentState backward(RecurrentState d, const float*, RecurrentState, RecurrentState made, float* dx,
                                       float*) const {
    dx[0] = d.h * (nonlinearity == 0 ? 1.f - made.h * made.h : made.h > 0 ? 1.f : 0.f);
    return {};
  }
};

// Gates i, f, g, o.
struct LstmCell {
  static constexpr int GATES = 4, SAVED = 4;
  static constexpr bool SEPARATE = false;

  GPUDL_DEVICE RecurrentState forward(const float* x, const float* product, RecurrentState before, float* saved) const {
    saved[0] = recurrent_sigmoid(x[0] + product[0]);
    saved[1] = recurrent_sigmoid(x[1] + product[1]);
    saved[2] = tanhf(x[2] + product[2]);
    saved[3] = recurrent_sigmoid(x[3] + product[3]);
    const float c = saved[1] * before.c + saved[0] * saved[2];
    return {saved[3] * tanhf(c), c};
  }
  GPUDL_DEVICE RecurrentState backward(RecurrentState d, const float* saved, RecurrentState before, RecurrentState made,
                                       float* dx, float*) const {
    const float i = saved[0], f = saved[1], g = saved[2], o = saved[3];
    const float squashed = tanhf(made.c);
    const float dc = d.c + d.h * o * (1.f - squashed * squashed);
    dx[0] = dc * g * i * (1.f - i);
    dx[1] = dc * before.c * f * (1.f - f);
    dx[2] = dc * i * (1.f - g * g);
    dx[3] = d.h * squashed * o * (1.f - o);
    return {0.f, dc * f};
  }
};

// Gates r, z, n; q, the product's part of n, is saved too.
struct GruCell {
  static constexpr int GATES = 3, SAVED = 4;
  static constexpr bool SEPARATE = true;

  GPUDL_DEVICE RecurrentState forward(const float* x, const float* product, RecurrentState before, float* saved) const {
    const float r = saved[0] = recurrent_sigmoid(x[0] + product[0]);
    const float z = saved[1] = recurrent_sigmoid(x[1] + product[1]);
    const float n = saved[2] = tanhf(x[2] + r * product[2]);
    saved[3] = product[2];
    return {(1.f - z) * n + z * before.h};
  }
  GPUDL_DEVICE RecurrentState backward(RecurrentState d, const float* saved, RecurrentState before, RecurrentState,
                                       float* dx, float* dproduct) const {
    const float r = saved[0], z = saved[1], n = saved[2], q = saved[3];
    dx[2] = d.h * (1.f - z) * (1.f - n * n);
    dx[0] = dproduct[0] = dx[2] * q * r * (1.f - r);
    dx[1] = dproduct[1] = d.h * (before.h - n) * z * (1.f - z);
    dproduct[2] = dx[2] * r;
    return {d.h * z};
  }
};

// Step t of one unit of one sample, given its GATES products with the state (without bias).
template <class Cell>
GPUDL_DEVICE void recurrent_forward_unit(const Cell& cell, const RecurrentForward& f, int t, int n, int unit,
                                         float* product) {
  constexpr int GATES = Cell::GATES, SAVED = Cell::SAVED;
  const Sequence& s = f.sequence;
  const int64_t row = int64_t{1} * t * s.batch + n, at = row * s.hidden + unit;
  const int64_t state = int64_t{1} * n * s.hidden + unit;
  float x[GATES], saved[SAVED + 1] = {};
  RecurrentState made;
  const bool counts = t < s.length(n);
  if (counts) {
    for (int g = 0; g < GATES; ++g) {
      x[g] = f.x[row * GATES * s.hidden + g * s.hidden + unit];
      if (f.bias != nullptr) product[g] += f.bias[g * s.hidden + unit];
    }
    RecurrentState before;
    before.h = s.before(f.y, f.h0, t, n, unit);
    if (f.cells != nullptr) before.c = s.before(f.cells, f.c0, t, n, unit);
    made = cell.forward(x, product, before, saved);
  }
  f.y[at] = made.h;
  if (f.cells != nullptr) f.cells[at] = made.c;
  for (int g = 0; g < SAVED; ++g) f.gates[row * SAVED * s.hidden + g * s.hidden + unit] = saved[g];
  if (counts || t == s.step(0)) {
    f.hn[state] = counts ? made.h : f.h0[state];
    if (f.cells != nullptr) f.cn[state] = counts ? made.c : f.c0[state];
  }
}

// The same backward. dh0 holds the state's gradient from later steps; the part through this step's products is added
// later. Returns the products' gradients in dproduct.
template <class Cell>
GPUDL_DEVICE void recurrent_backward_unit(const Cell& cell, const RecurrentBackward& b, int t, int n, int unit,
                                          float dh, float dc, float* dproduct) {
  constexpr int GATES = Cell::GATES, SAVED = Cell::SAVED;
  const Sequence& s = b.sequence;
  const int64_t row = int64_t{1} * t * s.batch + n, at = row * s.hidden + unit;
  const int64_t state = int64_t{1} * n * s.hidden + unit;
  float saved[SAVED + 1], dx[GATES] = {};
  for (int g = 0; g < GATES; ++g) dproduct[g] = 0;
  RecurrentState d{dh, dc};
  if (t < s.length(n)) {
    for (int g = 0; g < SAVED; ++g) saved[g] = b.gates[row * SAVED * s.hidden + g * s.hidden + unit];
    RecurrentState before, made;
    before.h = s.before(b.y, b.h0, t, n, unit);
    made.h = b.y[at];
    if (b.cells != nullptr) {
      before.c = s.before(b.cells, b.c0, t, n, unit);
      made.c = b.cells[at];
    }
    if (b.dy != nullptr) d.h += b.dy[at];
    d = cell.backward(d, saved, before, made, dx, dproduct);
    if (!Cell::SEPARATE)
      for (int g = 0; g < GATES; ++g) dproduct[g] = dx[g];
  }
  for (int g = 0; g < GATES; ++g) {
    const int64_t of_gate = row * GATES * s.hidden + g * s.hidden + unit;
    b.dx[of_gate] = dx[g];
    if (Cell::SEPARATE) b.dproduct[of_gate] = dproduct[g];
    if (t == s.first(n)) b.first[int64_t{1} * n * GATES * s.hidden + g * s.hidden + unit] = dproduct[g];
  }
  b.dh0[state] = d.h;
  if (b.cells != nullptr) b.dc0[state] = d.c;
}

// Parts of the workspace are padded to keep each aligned to 16 bytes.
inline int64_t padded_part(int64_t elements) { return (elements + 31) / 32 * 32; }

// Take a part from the start of the workspace.
inline float* take_workspace(View<float, 1>& workspace, int64_t elements, const char* what) {
  const int64_t padded = padded_part(elements);
  check(workspace.dim[0] >= padded, "workspace", std::string("is too small for ") + what);
  float* part = workspace.data;
  workspace = {part + padded, {static_cast<int>(workspace.dim[0] - padded)}};
  return part;
}

}  // namespace gpudl::prim
