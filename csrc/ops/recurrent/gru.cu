// gru_sequence: a GRU layer in one direction, given its input projections.
// sass: recurrent_forward_kernel FFMA SHFL registers<=255
// sass: recurrent_backward_kernel FFMA registers<=255
// sass: recurrent_forward_step_kernel registers<=64
// sass: recurrent_backward_step_kernel registers<=64
#include "ops/recurrent/recurrent_launch.h"

namespace gpudl {
namespace {

using namespace prim;

template <class Algorithm>
void forward(Steps x, View<const float, 2> weight, Maybe<View<const float, 1>> bias, View<const float, 2> h0,
             Lengths lengths, View<float, 3> y, View<float, 2> hn, View<float, 3> gates, Workspace workspace,
             bool reverse) {
  Algorithm::forward(GruCell{},
                     {sequence_of(x, weight, lengths, reverse), x.data, weight.data, bias.data, h0.data, nullptr,
                      y.data, hn.data, nullptr, gates.data, nullptr},
                     workspace);
}

template <class Algorithm>
void backward(MaybeSteps dy, Maybe<View<const float, 2>> dhn, View<const float, 2> weight, View<const float, 2> h0,
              Lengths lengths, Steps y, Steps gates, View<float, 3> dx, Maybe<View<float, 2>> dweight,
              Maybe<View<float, 1>> dbias, Maybe<View<float, 2>> dh0, Workspace workspace, bool reverse) {
  recurrent_backward<Algorithm>(
      GruCell{},
      {sequence_of(y, weight, lengths, reverse), dy.data, dhn.data, nullptr, weight.data, h0.data, nullptr, y.data,
       gates.data, nullptr, dx.data, nullptr, nullptr, dh0.data, nullptr},
      dweight.data, dbias.data, workspace);
}

#define GPUDL_GRU(op, algorithm, Algorithm)                                                                         \
  constexpr auto& op##_forward_##algorithm = forward<Algorithm>;                                                    \
  GPUDL_EXPORT(op, forward, algorithm, x, weight, bias, h0, lengths, y, hn, gates, workspace, reverse)              \
      .workspace<recurrent_forward_workspace<Algorithm>>("x, weight");                                              \
  constexpr auto& op##_backward_##algorithm = backward<Algorithm>;                                                  \
  GPUDL_EXPORT(op, backward, algorithm, dy, dhn, weight, h0, lengths, y, gates, dx, dweight, dbias, dh0, workspace, \
               reverse)                                                                                             \
      .workspace<recurrent_backward_workspace<Algorithm, GruCell, 1>>("y, weight")

GPUDL_GRU(gru_sequence, persistent, Persistent);
GPUDL_GRU(gru_sequence, stepwise, Stepwise);

}  // namespace
}  // namespace gpudl
